-- Which normal form the serials of a policy stand in, and the spellings that they had in earlier ones.

-- The form against which a policy's stored serials were last checked (`qdrs_core::policy::Policy::normal_form`): only another one
-- has to be checked again.
CREATE TABLE policy_form (
    policy TEXT NOT NULL PRIMARY KEY,
    form   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A spelling that `ledger renormalise` has replaced: it is still that serial, and none of its own.
CREATE TABLE serial_alias (
    policy   TEXT NOT NULL,
    spelling TEXT NOT NULL,
    serial   TEXT NOT NULL,
    PRIMARY KEY (policy, spelling)
) STRICT, WITHOUT ROWID;
