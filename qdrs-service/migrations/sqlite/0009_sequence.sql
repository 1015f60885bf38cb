-- Order is the audit log's numbers, and an age is the boot clock's: wall clocks step.

-- The audit log's entry of the reservation, and that of its last deed; 0 where an old ledger's log has none.
ALTER TABLE reservation ADD COLUMN reserved_entry INTEGER NOT NULL DEFAULT 0;
ALTER TABLE reservation ADD COLUMN last_entry     INTEGER NOT NULL DEFAULT 0;
UPDATE reservation SET reserved_entry = logged.first, last_entry = logged.last
    FROM (SELECT json_extract(entry, '$.reservation') AS id, min(seq) AS first, max(seq) AS last FROM audit
          WHERE json_extract(entry, '$.reservation') IS NOT NULL GROUP BY 1)
    AS logged WHERE logged.id = reservation.id;

-- Which start of the machine, and the milliseconds since then, when a key was sent last.
ALTER TABLE sent_key ADD COLUMN boot    TEXT;
ALTER TABLE sent_key ADD COLUMN boot_ms INTEGER;
