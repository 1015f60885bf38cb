-- Batch accounts, and what a station's CSV says beside a serial.

-- A batch that the owner has opened. One that nobody opened is free text in `reservation.batch`, as before.
CREATE TABLE batch (
    name         TEXT    NOT NULL PRIMARY KEY,
    policy       TEXT    NOT NULL,
    -- How many are to be made; of a batch with a list, how many stand in it.
    expected     INTEGER CHECK (expected > 0),
    listed       INTEGER NOT NULL CHECK (listed IN (0, 1)),
    -- How many have a place in it: a conditional count, as quotas are.
    taken        INTEGER NOT NULL DEFAULT 0 CHECK (taken >= 0),
    -- When, and the audit log's entry of the deed.
    opened_at    INTEGER NOT NULL,
    opened_entry INTEGER NOT NULL,
    closed_at    INTEGER,
    closed_entry INTEGER,
    -- Why it was closed with serials missing.
    missing_ok   TEXT,
    CHECK ((closed_at IS NULL) = (closed_entry IS NULL))
) STRICT;

-- The list of a batch, in normal form.
CREATE TABLE batch_serial (
    batch  TEXT NOT NULL REFERENCES batch (name),
    serial TEXT NOT NULL,
    PRIMARY KEY (batch, serial)
) STRICT, WITHOUT ROWID;

-- Access codes that register in these batches only.
CREATE TABLE batch_code (
    key_id TEXT NOT NULL REFERENCES access_code (key_id),
    batch  TEXT NOT NULL REFERENCES batch (name),
    PRIMARY KEY (key_id, batch)
) STRICT, WITHOUT ROWID;

-- The further columns of the station's CSV, a JSON object of texts.
ALTER TABLE reservation ADD COLUMN columns TEXT;

CREATE INDEX reservation_batch ON reservation (batch) WHERE batch IS NOT NULL;
-- A tombstone's keys are known by their device for ever.
CREATE INDEX reservation_tombstone ON reservation (hub_host, device_id) WHERE state = 'released';
-- Every attempt of a serial.
CREATE INDEX reservation_attempts ON reservation (policy, serial) WHERE state = 'released';
