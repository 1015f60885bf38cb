//! The one table of everything that can go wrong, and the problem document (RFC 9457) that carries a row of it.
//!
//! Statuses, exit codes, the operator's screen, reports, the documentation and OpenAPI are made from this table, so
//! they cannot drift apart. A code is stable for ever; texts may be bettered.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose turn it is to mend a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Turn {
    /// The line operator: scan again, plug in again, set the device aside.
    Operator,
    /// The line engineer: settings, ports, cables, network.
    Engineer,
    /// The product owner: access codes, policies, quotas, the hub.
    Owner,
    /// Nobody: QDRS asks again by itself.
    Nobody,
}

/// What a problem means for the run that met it; also the exit code of `qdrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// This serial or device failed; the run goes on (exit code 1).
    Device = 1,
    /// The input or the settings are wrong (exit code 2).
    Input = 2,
    /// The service refuses this station (exit code 3).
    Refused = 3,
    /// The service or the hub can't be reached (exit code 4).
    Unreachable = 4,
    /// A fault in QDRS (exit code 5).
    Fault = 5,
}

impl Scope {
    /// Is the whole run over, or only this serial?
    pub fn stops_the_run(self) -> bool {
        self != Self::Device
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The code as it is written everywhere.
    pub code: &'static str,
    /// HTTP status when the service says it; none for what only a station meets.
    pub status: Option<u16>,
    /// Whose turn it is.
    pub turn: Turn,
    /// Does asking again, unchanged, make sense?
    pub retry: bool,
    /// What it means for the run.
    pub scope: Scope,
    /// The same text for every occurrence.
    pub title: &'static str,
    /// How to mend it.
    pub help: &'static str,
}

macro_rules! problems {
    ($($name:ident = $code:literal, $status:expr, $turn:ident, $retry:literal, $scope:ident, $title:literal, $help:literal;)*) => {
        /// The stable code of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code's row of the table.
            pub fn row(self) -> &'static Row {
                match self {
                    $(Self::$name => {
                        const ROW: Row = Row {
                            code: $code, status: $status, turn: Turn::$turn, retry: $retry, scope: Scope::$scope,
                            title: $title, help: $help,
                        };
                        &ROW
                    })*
                }
            }
        }
    };
}

problems! {
    // The request itself.
    BadRequest = "bad-request", Some(400), Engineer, false, Input, "The request is malformed",
        "use a client that speaks this version of the protocol";
    IdempotencyKeyMissing = "idempotency-key-missing", Some(400), Engineer, false, Input, "A PUT needs an Idempotency-Key",
        "send a UUIDv7 made for this serial's job, and the same one with every retry";
    RouteUnknown = "route-unknown", Some(404), Engineer, false, Input, "There is no such address here",
        "check the service's URL in the station's settings";
    MethodNotAllowed = "method-not-allowed", Some(405), Engineer, false, Input, "This address does not take that method",
        "see /openapi.json for what each address takes";
    BodyTooLarge = "body-too-large", Some(413), Engineer, false, Input, "The request's body is too large",
        "send less; no request of this protocol needs more than 16 KiB";
    AddressRateLimited = "address-rate-limited", Some(429), Nobody, true, Unreachable, "Too many requests from this address",
        "wait; QDRS asks again by itself";

    // Who is calling.
    SignatureMissing = "signature-missing", Some(401), Engineer, false, Refused, "The request is not signed",
        "sign it as the protocol says; `qdrs setup` gives this station its access code";
    SignatureInvalid = "signature-invalid", Some(401), Engineer, false, Refused, "The request's signature does not hold",
        "check that the access code is this service's; if it is, a proxy between station and service changes requests: the owner \
         looks at `path_prefix` under `[network]` in the service's config";
    ClockSkew = "clock-skew", Some(401), Engineer, true, Refused, "The station's and the service's clocks differ",
        "set the clock that is wrong, the station's or the service's; over TLS QDRS corrects itself and goes on";
    AccessCodeUnknown = "access-code-unknown", Some(401), Owner, false, Refused, "The service does not know this access code",
        "check that the code was made by this service, then run `qdrs setup` again";
    AccessCodeSuspended = "access-code-suspended", Some(403), Owner, false, Refused, "The access code is suspended",
        "ask the product owner; what is already written may still be confirmed";
    AccessCodeRevoked = "access-code-revoked", Some(403), Owner, false, Refused, "The access code is revoked",
        "ask the product owner for a new code, then run `qdrs setup`";
    AccessCodeExpired = "access-code-expired", Some(403), Owner, false, Refused, "The access code has expired",
        "ask the product owner for a new code, then run `qdrs setup`; what is already written may still be confirmed";
    AccessCodeNotYetValid = "access-code-not-yet-valid", Some(403), Owner, false, Refused, "The access code is not valid yet",
        "wait for its first day, or ask the product owner";
    NotPermitted = "not-permitted", Some(403), Owner, false, Refused, "The access code does not permit this",
        "ask the product owner for a code with that permission";
    QuotaExhausted = "quota-exhausted", Some(403), Owner, false, Refused, "No more devices may be registered",
        "ask the product owner to raise the quota";
    ReworkUsedUp = "rework-used-up", Some(403), Owner, false, Refused, "No more registrations may be released by this access code",
        "ask the product owner to release the serial, or to raise the access code's rework budget";
    CodeRateLimited = "code-rate-limited", Some(429), Nobody, true, Unreachable, "Too many requests with this access code",
        "wait; QDRS asks again by itself";

    // The serial.
    SerialInvalid = "serial-invalid", Some(422), Operator, false, Device, "The serial number is not valid",
        "scan the label again; if it fails again, set the device aside";
    SerialUnknown = "serial-unknown", Some(404), Operator, false, Device, "The serial number is not registered",
        "register it first";
    SerialTaken = "serial-taken", Some(409), Operator, false, Device, "The serial number is already taken",
        "look where it was made (`qdrs status SERIAL`); two devices must not carry one label";
    InProgress = "in-progress", Some(409), Nobody, true, Device, "This serial number is being worked on right now",
        "wait; QDRS asks again by itself";
    IdempotencyMismatch = "idempotency-mismatch", Some(422), Engineer, false, Device, "The Idempotency-Key was used for something else",
        "make a new key for each serial's job";
    Released = "released", Some(409), Operator, false, Device, "This registration was released or taken over",
        "the device's credential is dead: run the job again to give it a new one";
    Conflict = "conflict", Some(409), Owner, false, Device, "The hub has this device id with a key that is not ours",
        "the owner decides: delete the identity in the hub by hand, or give the device another serial";
    BoardTaken = "board-taken", Some(409), Operator, false, Device, "This board was already made as another serial",
        "the board keeps its first serial; set it aside or have the owner release it";
    WrongBoard = "wrong-board", Some(409), Operator, false, Device, "This serial number belongs to another board",
        "put in the board that the owner's list names for this label, or scan the label of this board";
    BatchClosed = "batch-closed", Some(409), Owner, false, Refused, "The batch is closed",
        "what is made now belongs to another batch; ask the product owner to open one, and name it";
    NotInBatch = "not-in-batch", Some(409), Operator, false, Device, "The serial number does not stand in the batch's list",
        "look whether this label belongs to another batch; if not, set the device aside";
    RejectedByHub = "rejected-by-hub", Some(422), Owner, false, Device, "The hub refuses this device",
        "read what the hub says; most often the device id holds a character it does not take";
    IdentityMissing = "identity-missing", Some(409), Owner, false, Device, "The device was deleted in the hub by hand",
        "the owner releases the serial, then it can be registered again";
    IdentityChanged = "identity-changed", Some(409), Owner, false, Device, "The device's key was changed in the hub by hand",
        "the owner decides: release the serial, or restore the key";
    IdentityDisabled = "identity-disabled", Some(409), Owner, false, Device, "The device is disabled in the hub",
        "the owner enables it in the hub, or releases the serial";
    FingerprintMismatch = "fingerprint-mismatch", Some(409), Operator, false, Device, "The device holds another credential than the hub",
        "write the device again";
    EvidenceTooWeak = "evidence-too-weak", Some(422), Engineer, false, Device, "This kind of device can't prove enough for this policy",
        "use a kind of device with stronger evidence, or ask the owner to lower `least_evidence` in the policy";
    ProductRefused = "refused", Some(409), Owner, false, Device, "Refused",
        "contact the product's support";

    // The service and the hub.
    HubUnreachable = "hub-unreachable", Some(503), Nobody, true, Unreachable, "The hub can't be reached",
        "QDRS asks again by itself; if it lasts, check the service's network and the hub's host name";
    HubSlow = "hub-slow", Some(503), Nobody, true, Unreachable, "The hub has not answered yet, or not clearly",
        "QDRS asks again by itself; the reservation stands";
    HubThrottled = "hub-throttled", Some(503), Nobody, true, Unreachable, "The hub is throttling",
        "QDRS asks again by itself; a larger tier or more units register faster";
    HubUnrecognised = "hub-unrecognised", Some(503), Owner, true, Unreachable, "What answers in the hub's place is no IoT Hub",
        "QDRS asks again by itself; if it lasts, the owner checks the hub's host name and what stands between";
    HubUntrusted = "hub-untrusted", Some(503), Owner, false, Unreachable, "The hub's certificate is not trusted",
        "the owner sets the service's clock if the certificate's dates are at fault, else names its CA as the hub's `ca_file`";
    HubNotFound = "hub-not-found", Some(503), Owner, false, Unreachable, "There is no hub of that name",
        "the owner checks the `HostName` in the hub owner connection string, and that the hub still exists";
    HubRefusesOwner = "hub-refuses-owner", Some(503), Owner, false, Unreachable, "The hub refuses the service's credential",
        "the owner copies the hub owner connection string anew from the hub's \"Shared access policies\"; if it is the same, the \
         owner looks at the hub's \"Networking\" and at whether it takes shared keys";
    HubRightMissing = "hub-right-missing", Some(503), Owner, false, Unreachable, "The hub's policy lacks a right",
        "the owner gives the service a connection string of a policy with registry read and registry write, such as `registryReadWrite`";
    HubKeysOff = "hub-keys-off", Some(503), Owner, false, Unreachable, "The hub takes no shared keys",
        "the owner allows shared access policies for this hub again (local authentication), or names another hub";
    ServiceClockWrong = "service-clock-wrong", Some(503), Owner, false, Unreachable, "The service's clock is wrong",
        "the owner sets the clock of the computer that the service runs on, best by network time";
    HubNetworkDenied = "hub-network-denied", Some(503), Owner, false, Unreachable, "A network rule keeps the service from the hub",
        "the owner allows the service's address in the hub's \"Networking\", or has the proxy between let it through";
    HubDayQuota = "hub-day-quota", Some(503), Owner, false, Unreachable, "The hub's messages of the day are used up",
        "the owner adds units to the hub, or waits for the next day (UTC)";
    HubRefuses = "hub-refuses", Some(503), Owner, false, Unreachable, "The hub refuses the call",
        "the owner reads what the hub says: its tier, its state or its version does not allow the call";
    HubFull = "hub-full", Some(503), Owner, false, Unreachable, "The hub takes no more devices",
        "the owner adds another hub or removes devices";
    HubNotConfigured = "hub-not-configured", Some(503), Owner, false, Device, "The service's configuration does not have this hub",
        "the owner puts that hub into the service's config, as `[hubs.NAME]` with its `connection_file` (where a host is named, by any \
         NAME), and starts the service again";
    PolicyNotConfigured = "policy-not-configured", Some(503), Owner, false, Refused, "The service's configuration does not have this policy",
        "the owner puts the policy back into the service's config, as `[policies.NAME]`, and starts the service again; what is open \
         already can be finished without it";
    LedgerUnavailable = "ledger-unavailable", Some(503), Nobody, true, Unreachable, "The ledger can't be used right now",
        "QDRS asks again by itself; if it lasts, check the service's disk";
    NotSupported = "not-supported", Some(501), Engineer, false, Device, "This version can't do that yet",
        "see the changelog for what this version does";
    Internal = "internal", Some(500), Nobody, true, Fault, "A fault in QDRS",
        "report it with the service's log";

    // What only a station meets: its input and settings.
    BatchInvalid = "batch-invalid", None, Engineer, false, Input, "The batch file can't be used",
        "mend the rows that are named and run the same command again";
    SettingInvalid = "setting-invalid", None, Engineer, false, Input, "A setting is wrong",
        "`qdrs config` shows every setting and where it comes from";
    AccessCodeMalformed = "access-code-malformed", None, Engineer, false, Input, "This is not an access code",
        "copy the whole code, from `qdrs1` to its last character";
    AccessCodeAbsent = "access-code-absent", None, Engineer, false, Input, "This station has no access code yet",
        "run `qdrs setup URL` and paste the code, or try `qdrs --sandbox`";
    JournalInvalid = "journal-invalid", None, Engineer, false, Input, "The journal can't be read",
        "keep the file, start with another `--journal`, and report it";
    JournalBusy = "journal-busy", None, Operator, false, Input, "Another `qdrs` is at work at this station",
        "let it finish, or stop it first";
    FileUnwritable = "file-unwritable", None, Engineer, false, Input, "A file can't be written",
        "check the folder, its permissions and the free space";

    // The service as a station sees it.
    ServiceUnreachable = "service-unreachable", None, Engineer, true, Unreachable, "The service can't be reached",
        "check the network and the service's URL, then run the same command again";
    CertificateUntrusted = "certificate-untrusted", None, Engineer, false, Refused, "The service's certificate is not trusted",
        "give the service a certificate this PC trusts, or name its CA with `--ca-file`";
    AnswerInvalid = "answer-invalid", None, Engineer, false, Unreachable, "The service's answer makes no sense",
        "check that the URL is a QDRS service of this version; something between may change answers";
    SealBroken = "seal-broken", None, Engineer, false, Device, "The credential can't be opened",
        "run `qdrs setup` again with the access code that this service gave out";

    // Ports and devices.
    PortMissing = "port-missing", None, Operator, false, Input, "No such port",
        "plug the adapter in; `qdrs ports` shows what is there";
    PortBusy = "port-busy", None, Operator, false, Input, "The port is in use",
        "close the other program that holds it";
    PortDenied = "port-denied", None, Engineer, false, Input, "This user may not open the port",
        "on Linux add the user to the group that owns the port (often `dialout`) and log in again";
    DeviceGone = "device-gone", None, Operator, true, Device, "The device went away",
        "put the device back and run the same command again; nothing is lost";
    DeviceSilent = "device-silent", None, Operator, true, Device, "The device does not answer",
        "check cable and power; put the device into its configuration mode";
    DeviceNotReady = "device-not-ready", None, Operator, true, Device, "The device is not in its configuration mode",
        "bring the device into its configuration mode and try again";
    DeviceRefused = "device-refused", None, Operator, false, Device, "The device refuses the connection string",
        "try once more; if it refuses again, set the device aside";
    DeviceUnverified = "device-unverified", None, Operator, true, Device, "The device could not verify what it stored",
        "try once more; if it fails again, set the device aside";
    CredentialTooLong = "credential-too-long", None, Engineer, false, Device, "The connection string does not fit the device",
        "use a shorter device id or another kind of device";
    Interrupted = "interrupted", None, Operator, true, Device, "Interrupted",
        "run the same command again; it does what is left";
}

impl Code {
    /// The code as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        self.row().code
    }

    /// The same text for every occurrence.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// How to mend it.
    pub fn help(self) -> &'static str {
        self.row().help
    }

    /// What it means for the run.
    pub fn scope(self) -> Scope {
        self.row().scope
    }

    /// The code of that name; none when a newer service says something this version does not know.
    pub fn find(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A problem document, `application/problem+json`.
///
/// Unknown members are ignored. Machines read `code`; people read `title`, `detail` and `help`.
///
/// Source: RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A relative URI made of the code, `/problems/{code}`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same text for every occurrence of the code.
    pub title: String,
    /// The HTTP status, again.
    pub status: u16,
    /// What happened this time, for a person; never holds a secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The stable code: what a program decides by.
    pub code: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// Seconds to wait before asking again; also in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Where the serial stands, if the caller may know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<super::State>,
    /// The station that works on the serial or made it, if the caller may know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// Since when the serial stands there, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<jiff::Timestamp>,
    /// Was it registered with the caller's own access code?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yours: Option<bool>,
    /// The journal of the station that registered it, if that named one; only for the code that registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Uuid))]
    pub journal: Option<uuid::Uuid>,
    /// The attempt that stands; only for the code that registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Uuid))]
    pub reservation: Option<uuid::Uuid>,
    /// The service's time, RFC 3339; with `clock-skew`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub server_time: Option<jiff::Timestamp>,
}

impl Problem {
    /// The document for a code, with what happened this time.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let row = code.row();
        Self {
            kind: format!("/problems/{}", row.code),
            title: row.title.to_owned(),
            status: row.status.unwrap_or(500),
            detail: detail.into(),
            code: row.code.to_owned(),
            help: row.help.to_owned(),
            retry_after: None,
            state: None,
            station: None,
            since: None,
            yours: None,
            journal: None,
            reservation: None,
            server_time: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_findable() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} stands in the table twice");
            assert_eq!(Code::find(code.as_str()), Some(*code));
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        }
    }

    #[test]
    fn texts_are_whole_and_end_without_a_full_stop() {
        for code in Code::ALL {
            let row = code.row();
            assert!(!row.title.is_empty() && !row.help.is_empty(), "{code} says nothing");
            assert!(!row.title.ends_with('.') && !row.help.ends_with('.'), "{code}: no full stop after a single sentence");
        }
    }

    #[test]
    fn unknown_members_are_ignored_and_unknown_codes_survive() {
        let problem: Problem =
            serde_json::from_str(r#"{"type":"/problems/x","title":"T","status":418,"code":"x","shape":"teapot"}"#)
                .expect("reads");
        assert_eq!((problem.code.as_str(), Code::find(&problem.code)), ("x", None));
    }
}
