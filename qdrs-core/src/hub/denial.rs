//! Why a hub refuses the service as a whole, whatever device a call is about.
//!
//! IoT Hub gives one status, 401, for a wrong key, a policy without the right, shared keys that are switched off, a clock
//! that is off and a network rule. They are told apart by the hub's code and words, by its `Date`, and by what is known of
//! the policy. Knows no connection: [`super::azure`] asks the hub where an answer alone does not suffice.
//!
//! Source: Azure IoT Hub, "Understand and resolve errors", "Use IP filters", "Control access"; answers in public reports.

use crate::api::Code;

/// How far the service's clock may be from the hub's before it counts as wrong, in seconds: the hub's own leeway.
const CLOCK_LEEWAY_S: i64 = 300;

/// Why a hub refuses the service. Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The key or the policy's name is wrong, or the hub does not tell more.
    Credential,
    /// The policy lacks the right that the call needs.
    Right,
    /// The hub takes no shared keys (`disableLocalAuth`).
    KeysOff,
    /// The service's clock is off, so its tokens are not valid.
    Clock,
    /// A network rule of the hub, or a proxy, refuses the service.
    Network,
    /// There is no hub of that name.
    NoHub,
    /// The hub's messages of the day are used up.
    DayQuota,
    /// The hub's tier, its state or its version does not allow the call.
    Call,
}

impl Denial {
    /// The row of the table of problems.
    pub fn code(self) -> Code {
        match self {
            Self::Credential => Code::HubRefusesOwner,
            Self::Right => Code::HubRightMissing,
            Self::KeysOff => Code::HubKeysOff,
            Self::Clock => Code::ServiceClockWrong,
            Self::Network => Code::HubNetworkDenied,
            Self::NoHub => Code::HubNotFound,
            Self::DayQuota => Code::HubDayQuota,
            Self::Call => Code::HubRefuses,
        }
    }

    /// What a 401 or 403 means by the hub's own code and words; [`Self::Credential`] when they tell no more.
    pub(super) fn by_words(code: &str, words: &str) -> Self {
        let said = format!("{code} {words}").to_ascii_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
        if says(&["network access", "ip address", "ip filter", "ip rule", "ipnotauthorized", "private endpoint", "private link"])
        {
            return Self::Network;
        }
        let shared = says(&["shared access", "shared key", "sas token", "sas auth"]);
        if says(&["local auth", "localauth"]) || (shared && says(&["disabled", "switched off", "not enabled"])) {
            return Self::KeysOff;
        }
        if says(&["does not allow access", "not authorized for", "no assigned permission", "insufficient permission"]) {
            return Self::Right;
        }
        Self::Credential
    }
}

/// What a call needs of the owner's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
}

impl Right {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "registry read",
            Self::Write => "registry write",
        }
    }

    /// True if the policy is one of those that every hub begins with, and lacks it.
    fn lacked_by(self, policy: &str) -> bool {
        match policy {
            "registryRead" => self == Self::Write,
            "service" | "device" => true,
            _ => false,
        }
    }
}

/// A call that was refused, as far as the sentence about it needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused<'a> {
    pub(super) host: &'a str,
    pub(super) policy: &'a str,
    pub(super) right: Right,
    /// The service's clock less the hub's, in seconds; none when the hub gave no `Date`.
    pub(super) ahead_s: Option<i64>,
}

impl Refused<'_> {
    /// Looks at the clock and at the policy's name, where the hub's own words told nothing.
    pub(super) fn settle(&self, denial: Denial) -> Denial {
        if denial != Denial::Credential {
            return denial;
        }
        if self.ahead_s.is_some_and(|seconds| seconds.abs() > CLOCK_LEEWAY_S) {
            return Denial::Clock;
        }
        if self.right.lacked_by(self.policy) { Denial::Right } else { Denial::Credential }
    }

    /// The sentence for a person. `words` are the hub's own, without a secret.
    pub(super) fn sentence(&self, denial: Denial, words: &str) -> String {
        let Self { host, policy, right, .. } = *self;
        let right = right.as_str();
        match denial {
            Denial::Credential => format!(
                "{host} does not take the key of policy `{policy}`: {words}. The key or the policy's name is wrong, or the hub \
                 takes no shared keys, or not from the service's address"
            ),
            Denial::Right => format!("policy `{policy}` of {host} lacks the right `{right}`, so the call was refused: {words}"),
            Denial::KeysOff => format!("{host} has shared keys switched off, so it takes no connection string: {words}"),
            Denial::Clock => {
                let ahead_s = self.ahead_s.unwrap_or_default();
                let side = if ahead_s.is_negative() { "behind" } else { "ahead of" };
                let seconds = ahead_s.unsigned_abs();
                format!(
                    "the service's clock is {seconds} s {side} the clock of {host}, so the hub refuses the service's tokens: {words}"
                )
            }
            Denial::Network => format!("a network rule of {host}, or a proxy before it, refuses the service: {words}"),
            Denial::NoHub => format!("there is no IoT Hub at {host}: {words}"),
            Denial::DayQuota => format!("the messages of the day are used up at {host}: {words}"),
            Denial::Call => format!("{host} refuses the call: {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(policy: &str, right: Right, ahead_s: Option<i64>) -> Refused<'_> {
        Refused { host: "contoso.azure-devices.net", policy, right, ahead_s }
    }

    #[test]
    fn the_hubs_words_tell_causes_apart_that_share_a_status() {
        for (code, words, denial) in [
            ("IotHubUnauthorizedAccess", "Unauthorized", Denial::Credential),
            ("IotHubUnauthorizedAccess", "The specified SAS token has an invalid signature", Denial::Credential),
            ("IotHubUnauthorized", "Authorization rule 'registryRead' does not allow access for 'devices'", Denial::Right),
            (
                "IotHubUnauthorizedAccess",
                "Principal 0 is not authorized for PUT on /devices due to no assigned permissions",
                Denial::Right,
            ),
            ("IotHubUnauthorizedAccess", "Local authentication is disabled for this IoT hub", Denial::KeysOff),
            ("LocalAuthDisabled", "", Denial::KeysOff),
            ("IotHubUnauthorizedAccess", "SAS token authentication is disabled", Denial::KeysOff),
            ("IpNotAuthorized", "", Denial::Network),
            ("IotHubUnauthorizedAccess", "Public network access is disabled", Denial::Network),
        ] {
            assert_eq!(Denial::by_words(code, words), denial, "{code} {words}");
        }
    }

    #[test]
    fn the_clock_is_said_with_its_side_and_only_beyond_the_hubs_leeway() {
        let settled = |ahead_s| {
            let refused = refused("iothubowner", Right::Write, ahead_s);
            let denial = refused.settle(Denial::Credential);
            (denial, refused.sentence(denial, "Unauthorized"))
        };
        for close in [None, Some(0), Some(300), Some(-300)] {
            assert_eq!(settled(close).0, Denial::Credential, "{close:?}");
        }
        assert_eq!(
            settled(Some(-7200)),
            (
                Denial::Clock,
                "the service's clock is 7200 s behind the clock of contoso.azure-devices.net, so the hub refuses the service's \
                 tokens: Unauthorized"
                    .to_owned()
            )
        );
        assert!(settled(Some(301)).1.starts_with("the service's clock is 301 s ahead of the clock of"));
    }

    #[test]
    fn the_policies_of_every_hub_are_known_by_name() {
        let lacks = |policy, right| refused(policy, right, None).settle(Denial::Credential) == Denial::Right;
        assert!(lacks("registryRead", Right::Write) && !lacks("registryRead", Right::Read));
        assert!(lacks("service", Right::Read) && lacks("device", Right::Write));
        assert!(!lacks("registryReadWrite", Right::Write) && !lacks("our-own", Right::Write));
    }
}
