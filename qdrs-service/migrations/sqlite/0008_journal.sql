-- A station is its journal, not its name: which journal made a registration. Empty for clients that name none.

ALTER TABLE reservation ADD COLUMN journal TEXT;

CREATE INDEX reservation_journal ON reservation (journal, key_id) WHERE journal IS NOT NULL;
