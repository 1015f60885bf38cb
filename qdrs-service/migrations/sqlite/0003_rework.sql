-- The holder's releases: how many an access code may have, and which of its registrations are tombstones.

-- How many registrations the code may release, and how many it has released.
ALTER TABLE access_code ADD COLUMN rework   INTEGER NOT NULL DEFAULT 0 CHECK (rework >= 0);
ALTER TABLE access_code ADD COLUMN reworked INTEGER NOT NULL DEFAULT 0 CHECK (reworked >= 0);
-- How many of its registrations are tombstones: numbers them, so that a station can ask for those that are new to it.
ALTER TABLE access_code ADD COLUMN released INTEGER NOT NULL DEFAULT 0 CHECK (released >= 0);

-- Does it count against quota, policy and batch? Each charge is given back once.
ALTER TABLE reservation ADD COLUMN charged     INTEGER NOT NULL DEFAULT 1 CHECK (charged IN (0, 1));
-- A tombstone's number among those of its access code, from 1.
ALTER TABLE reservation ADD COLUMN released_no INTEGER CHECK (released_no > 0);

UPDATE reservation SET charged = 0 WHERE state IN ('rejected', 'released');
UPDATE reservation SET released_no = numbered.no
    FROM (SELECT id, row_number() OVER (PARTITION BY key_id ORDER BY since, id) AS no FROM reservation WHERE state = 'released')
    AS numbered WHERE numbered.id = reservation.id;
UPDATE access_code SET released = (SELECT count(*) FROM reservation r WHERE r.key_id = access_code.key_id AND r.state = 'released');

CREATE UNIQUE INDEX reservation_released ON reservation (key_id, released_no) WHERE state = 'released';
