-- The ledger: every serial's life, the access codes, and the audit log. It holds no device key, only fingerprints.
-- Times are milliseconds since 1970, UTC. Ids and words are text; keys, hashes and fingerprints are blobs.

CREATE TABLE access_code (
    key_id          TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    kind            TEXT    NOT NULL CHECK (kind IN ('station', 'product')),
    signing_key     BLOB    NOT NULL CHECK (length(signing_key) = 32),
    opening_key     BLOB    NOT NULL CHECK (length(opening_key) = 32),
    policy          TEXT    NOT NULL,
    hub             TEXT    NOT NULL,
    quota           INTEGER CHECK (quota >= 0),
    made            INTEGER NOT NULL DEFAULT 0 CHECK (made >= 0),
    rate_per_minute INTEGER CHECK (rate_per_minute > 0),
    not_before      INTEGER,
    expires         INTEGER,
    permissions     TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')),
    created_at      INTEGER NOT NULL
) STRICT;

-- One row an attempt at a registration. The row of the serial's present life is the one that is not `released`; released
-- rows are tombstones, so that a late repeat or confirmation of an old attempt is known for what it is.
CREATE TABLE reservation (
    id           TEXT    NOT NULL PRIMARY KEY,
    policy       TEXT    NOT NULL,
    serial       TEXT    NOT NULL,
    serial_sent  TEXT    NOT NULL,
    device_id    TEXT    NOT NULL,
    hub          TEXT    NOT NULL,
    hub_host     TEXT    NOT NULL,
    key_id       TEXT    NOT NULL REFERENCES access_code (key_id),
    job_hash     BLOB    NOT NULL CHECK (length(job_hash) = 32),
    recipient    BLOB    CHECK (length(recipient) = 32),
    station      TEXT,
    slot         TEXT,
    batch        TEXT,
    product      TEXT    NOT NULL,
    hardware_id  TEXT,
    day          TEXT    NOT NULL,
    replaces     TEXT,
    reserved_at  INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN
                 ('reserved', 'issued', 'confirmed', 'rejected', 'conflict', 'releasing', 'released', 'scrapped')),
    since        INTEGER NOT NULL,
    fingerprint  BLOB    CHECK (length(fingerprint) = 32),
    evidence     TEXT    CHECK (evidence IN ('accepted', 'device-checked', 'read-back')),
    reason       TEXT,
    -- What a state needs to be known, is known.
    CHECK (state NOT IN ('issued', 'confirmed') OR fingerprint IS NOT NULL),
    CHECK (state <> 'confirmed' OR evidence IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX reservation_serial ON reservation (policy, serial) WHERE state <> 'released';
CREATE UNIQUE INDEX reservation_device ON reservation (hub_host, device_id) WHERE state <> 'released';
CREATE UNIQUE INDEX reservation_job ON reservation (key_id, job_hash);
CREATE UNIQUE INDEX reservation_board ON reservation (product, hardware_id)
    WHERE state = 'confirmed' AND hardware_id IS NOT NULL;

-- Every key ever sent to the hub for a reservation, by its fingerprint, written before the key is sent.
CREATE TABLE sent_key (
    reservation TEXT    NOT NULL REFERENCES reservation (id),
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    sent_at     INTEGER NOT NULL,
    answered_at INTEGER,
    PRIMARY KEY (reservation, fingerprint)
) STRICT, WITHOUT ROWID;

-- How many were made under a policy: in all (day = '') and on each day (UTC).
CREATE TABLE policy_count (
    policy TEXT    NOT NULL,
    day    TEXT    NOT NULL,
    made   INTEGER NOT NULL CHECK (made >= 0),
    PRIMARY KEY (policy, day)
) STRICT, WITHOUT ROWID;

-- Who did what, in the same transaction as the deed; each entry's hash covers the one before it.
CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    entry    TEXT    NOT NULL,
    hash     BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
