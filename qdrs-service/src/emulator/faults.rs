//! Faults on demand: lost answers, lost requests, refusals, failures before and after the effect, delays, throttling.
//!
//! A rule says which fault, on which calls, and how often: the next `n` matching calls, or a share of them drawn from
//! a seed, so that the same seed brings the same faults in the same order. Rules are set by [`Faults`] from Rust, or
//! over HTTP at `/_emulator/faults` when the emulator was started with that switch.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::errors::{self, Answer, Refusal};

/// What a call does, as far as faults are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Makes identities, alone or in bulk.
    Create,
    /// Reads an identity, a twin, a list, statistics or a query.
    Read,
    /// Changes an identity or a twin.
    Update,
    /// Deletes identities, alone or in bulk.
    Delete,
    /// The device side: a message to the hub, or asking for one.
    Send,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 5] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Send];
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// The connection closes before anything was done.
    DropRequest,
    /// It is done, then the connection closes without an answer.
    DropAnswer,
    /// 503 `ServiceUnavailable`, nothing done.
    FailBefore,
    /// It is done, then 500 `ServerError`.
    FailAfter,
    /// It is done that many milliseconds later, whether or not the caller still waits.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// It is done at once, the answer comes that many milliseconds later.
    DelayAnswer {
        /// Milliseconds.
        ms: u64,
    },
    /// 429 `ThrottlingBacklogTimeout` and a closed connection, nothing done.
    Throttle {
        /// Seconds in `Retry-After`; the real hub sends none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// 403 `IotHubQuotaExceeded`, nothing done.
    Full,
    /// An error of the real hub that the emulator does not make by itself, nothing done.
    Refuse {
        /// HTTP status, 400 to 599.
        status: u16,
        /// The header `iothub-errorcode`, such as `IotHubNotFound`; empty for an answer that is none of a hub.
        #[serde(default)]
        code: String,
        /// What the hub says of it.
        #[serde(default)]
        text: String,
    },
    /// A bulk create makes the identity but not its tags, and warns `DeviceRegisteredWithoutTwin`.
    WithoutTwin,
}

/// A fault, on which calls, and how often.
///
/// As JSON: `{"fault":"drop-answer","on":["create"],"next":2}`, `{"fault":"delay","ms":500,"probability":0.1,"seed":7}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// On which operations; on all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Operation>,
    /// Only on calls that name this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// How many matching calls are spared first.
    #[serde(default)]
    pub skip: u64,
    /// How many times it happens; without it once, or for ever if `probability` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The share of matching calls, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What the draws begin from.
    #[serde(default)]
    pub seed: u64,
}

impl Rule {
    /// The fault on the next call, whichever it is.
    pub fn new(fault: Fault) -> Self {
        Self { fault, on: Vec::new(), device_id: None, skip: 0, next: None, probability: None, seed: 0 }
    }

    /// Only on this operation; say it again for more.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.on.push(operation);
        self
    }

    /// Only on calls that name this device.
    #[must_use]
    pub fn device(mut self, device_id: impl Into<String>) -> Self {
        self.device_id = Some(device_id.into());
        self
    }

    /// Spares the first `n` matching calls.
    #[must_use]
    pub fn after(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// On the next `n` matching calls.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.next = Some(n);
        self
    }

    /// On every matching call until it is cleared.
    #[must_use]
    pub fn always(self) -> Self {
        self.share(1.0, 0)
    }

    /// On a share (0 to 1) of the matching calls, drawn from `seed`.
    #[must_use]
    pub fn share(mut self, probability: f64, seed: u64) -> Self {
        (self.probability, self.seed) = (Some(probability), seed);
        self
    }
}

/// A rule in force.
struct Active {
    rule: Rule,
    skip: u64,
    left: u64,
    draws: u64,
    fired: u64,
}

impl Active {
    fn new(rule: Rule) -> Self {
        let left = rule.next.unwrap_or(if rule.probability.is_some() { u64::MAX } else { 1 });
        Self { skip: rule.skip, left, draws: rule.seed, fired: 0, rule }
    }

    fn fires(&mut self, call: &Call) -> bool {
        let matches = (self.rule.on.is_empty() || call.operations.iter().any(|operation| self.rule.on.contains(operation)))
            && self.rule.device_id.as_ref().is_none_or(|id| call.device_ids.contains(&id.as_str()));
        if !matches || self.left == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.rule.probability.is_some_and(|share| draw(&mut self.draws) >= share) {
            return false;
        }
        self.left -= 1;
        self.fired += 1;
        true
    }
}

/// A number in 0..1; the same row for the same seed on every machine.
///
/// Source: SplitMix64, Steele, Lea and Flood 2014.
fn draw(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let upper = ((z ^ (z >> 31)) >> 11) as f64;
    upper / 9_007_199_254_740_992.0
}

/// What a rule has to know of a call.
pub(super) struct Call<'a> {
    pub(super) operations: &'a [Operation],
    pub(super) device_ids: &'a [&'a str],
}

/// What shall happen to one call.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) drop_request: bool,
    pub(super) refusal: Option<Refusal>,
    pub(super) answer: Option<Answer>,
    pub(super) without_twin: bool,
    pub(super) drop_answer: bool,
    pub(super) fail_after: bool,
    pub(super) delay_answer: Duration,
}

/// A rule as `GET /_emulator/faults` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// The rule as it was given.
    #[serde(flatten)]
    pub rule: Rule,
    /// How many times it has happened.
    pub fired: u64,
}

/// The fault switch of one emulator; copies share it.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    any: AtomicBool,
    rules: Mutex<Vec<Active>>,
    calls: [AtomicU64; Operation::ALL.len()],
}

impl Faults {
    /// Puts a rule in force, beside those that are.
    pub fn add(&self, rule: Rule) {
        self.rules().push(Active::new(rule));
        self.inner.any.store(true, Ordering::Release);
    }

    /// Lifts every rule.
    pub fn clear(&self) {
        self.rules().clear();
        self.inner.any.store(false, Ordering::Release);
    }

    /// The rules in force, with how often each has happened.
    pub fn list(&self) -> Vec<Seen> {
        self.rules().iter().map(|active| Seen { rule: active.rule.clone(), fired: active.fired }).collect()
    }

    /// How many times any rule in force has happened.
    pub fn fired(&self) -> u64 {
        self.rules().iter().map(|active| active.fired).sum()
    }

    /// How many calls that do this have come with a good token, faulty ones too. A bulk call counts once.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.inner.calls[operation as usize].load(Ordering::Relaxed)
    }

    /// What shall happen to this call. Each rule decides for itself, and what they decide adds up.
    pub(super) fn plan(&self, call: &Call) -> Plan {
        for operation in call.operations {
            self.inner.calls[*operation as usize].fetch_add(1, Ordering::Relaxed);
        }
        let mut plan = Plan::default();
        if !self.inner.any.load(Ordering::Acquire) {
            return plan;
        }
        for active in self.rules().iter_mut() {
            if !active.fires(call) {
                continue;
            }
            match &active.rule.fault {
                Fault::DropRequest => plan.drop_request = true,
                Fault::DropAnswer => plan.drop_answer = true,
                Fault::FailBefore => {
                    plan.refusal = Some(Refusal::new(errors::SERVICE_UNAVAILABLE, "Service is unavailable, please retry"));
                }
                Fault::FailAfter => plan.fail_after = true,
                Fault::Delay { ms } => plan.delay += Duration::from_millis(*ms),
                Fault::DelayAnswer { ms } => plan.delay_answer += Duration::from_millis(*ms),
                Fault::Throttle { retry_after } => plan.refusal = Some(Refusal::throttled(*retry_after)),
                Fault::Full => plan.refusal = Some(Refusal::full(0)),
                Fault::Refuse { status, code, text } => plan.answer = Some(errors::stated(*status, code, text)),
                Fault::WithoutTwin => plan.without_twin = true,
            }
        }
        plan
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Active>> {
        self.inner.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create<'a>() -> Call<'a> {
        Call { operations: &[Operation::Create], device_ids: &["dev1"] }
    }

    #[test]
    fn a_rule_fires_on_its_operation_after_those_it_spares_and_then_no_more() {
        let faults = Faults::default();
        faults.add(Rule::new(Fault::DropAnswer).on(Operation::Create).after(1).times(2));
        assert!(!faults.plan(&Call { operations: &[Operation::Read], device_ids: &[] }).drop_answer);
        let dropped: Vec<_> = (0..5).map(|_| faults.plan(&create()).drop_answer).collect();
        assert_eq!(dropped, [false, true, true, false, false]);
        assert_eq!((faults.fired(), faults.calls(Operation::Create), faults.calls(Operation::Read)), (2, 5, 1));
    }

    #[test]
    fn a_rule_for_one_device_leaves_the_others_alone() {
        let faults = Faults::default();
        faults.add(Rule::new(Fault::Full).device("dev2"));
        assert!(faults.plan(&create()).refusal.is_none());
        assert!(faults.plan(&Call { operations: &[Operation::Create], device_ids: &["dev1", "dev2"] }).refusal.is_some());
    }

    #[test]
    fn the_same_seed_brings_the_same_faults_and_about_the_share_asked_for() {
        let row = |seed| {
            let faults = Faults::default();
            faults.add(Rule::new(Fault::DropAnswer).share(0.25, seed));
            (0..1000).map(|_| faults.plan(&create()).drop_answer).collect::<Vec<_>>()
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        let fired = row(7).into_iter().filter(|fired| *fired).count();
        assert!((200..300).contains(&fired), "{fired} of 1000");
    }

    #[test]
    fn rules_are_read_from_json_and_shown_with_their_count() {
        let rule: Rule = serde_json::from_str(r#"{"fault":"throttle","on":["create"],"next":3}"#).expect("reads");
        assert_eq!(rule, Rule::new(Fault::Throttle { retry_after: None }).on(Operation::Create).times(3));
        let faults = Faults::default();
        faults.add(rule);
        faults.plan(&create());
        let shown = serde_json::to_value(faults.list()).expect("writes");
        assert_eq!((&shown[0]["fault"], &shown[0]["fired"]), (&"throttle".into(), &1.into()));
        assert!(serde_json::from_str::<Rule>(r#"{"fault":"meteor"}"#).is_err());
    }

    #[test]
    fn rules_add_up() {
        let faults = Faults::default();
        faults.add(Rule::new(Fault::Delay { ms: 5 }).always());
        faults.add(Rule::new(Fault::DropAnswer));
        let plan = faults.plan(&create());
        assert_eq!((plan.delay, plan.drop_answer), (Duration::from_millis(5), true));
    }
}
