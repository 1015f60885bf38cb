-- What the policy asked for when a serial was reserved, so that what is open can be finished without the policy.

-- NULL in rows of older versions: the strictest is assumed once the policy is gone.
ALTER TABLE reservation ADD COLUMN least_evidence TEXT CHECK (least_evidence IN ('accepted', 'device-checked', 'read-back'));
-- The board that a list of the policy named for the serial.
ALTER TABLE reservation ADD COLUMN listed_board   TEXT;
