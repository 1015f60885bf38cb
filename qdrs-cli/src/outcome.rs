//! How a run ended, as people mean it; the exit code is made from it in one place.

use std::process::ExitCode;

use qdrs_core::api::{Code, Scope};

/// How a run ended.
///
/// The order is that of gravity: of two outcomes the greater one is the run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// All that was asked for is done (0).
    AllPassed,
    /// Some devices failed; the others are done (1).
    SomeFailed,
    /// The input or the settings are wrong (2).
    BadInput,
    /// The service refused this station (3).
    Refused,
    /// The service or the hub can't be reached (4).
    Unreachable,
    /// Stopped by a person; the journal is whole, and the same command goes on (130).
    Interrupted,
    /// A fault in QDRS (5).
    Fault,
}

impl Outcome {
    /// Every outcome, in the order of gravity.
    pub const ALL: [Self; 7] =
        [Self::AllPassed, Self::SomeFailed, Self::BadInput, Self::Refused, Self::Unreachable, Self::Interrupted, Self::Fault];

    /// The exit code of `qdrs`.
    pub fn code(self) -> u8 {
        match self {
            Self::AllPassed => 0,
            Self::SomeFailed => 1,
            Self::BadInput => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Fault => 5,
            Self::Interrupted => 130,
        }
    }

    /// The word in `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllPassed => "all-passed",
            Self::SomeFailed => "some-failed",
            Self::BadInput => "bad-input",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Fault => "fault",
            Self::Interrupted => "interrupted",
        }
    }

    /// The sentence in `qdrs --help` and the man page.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::AllPassed => "all passed",
            Self::SomeFailed => "some devices failed",
            Self::BadInput => "bad input or settings",
            Self::Refused => "the service refused this station",
            Self::Unreachable => "the service or the hub can't be reached",
            Self::Fault => "a fault in QDRS",
            Self::Interrupted => "interrupted; the same command goes on",
        }
    }
}

impl From<Scope> for Outcome {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Device => Self::SomeFailed,
            Scope::Input => Self::BadInput,
            Scope::Refused => Self::Refused,
            Scope::Unreachable => Self::Unreachable,
            Scope::Fault => Self::Fault,
        }
    }
}

impl From<Code> for Outcome {
    fn from(code: Code) -> Self {
        match code {
            Code::Interrupted => Self::Interrupted,
            other => other.scope().into(),
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_and_its_outcome_have_the_same_exit_code() {
        for code in Code::ALL.iter().filter(|code| **code != Code::Interrupted) {
            assert_eq!(Outcome::from(*code).code(), code.scope() as u8, "{code}");
        }
        assert_eq!(Outcome::from(Code::Interrupted).code(), 130);
    }

    #[test]
    fn the_page_about_events_names_each_outcome_with_its_exit_code() {
        let page = include_str!("../EVENTS.md").split_whitespace().collect::<Vec<_>>().join(" ");
        for outcome in Outcome::ALL {
            assert!(page.contains(&format!("`{}` {}", outcome.as_str(), outcome.code())), "{outcome:?}");
        }
    }

    #[test]
    fn the_graver_outcome_is_the_greater() {
        assert!(Outcome::ALL.is_sorted());
        assert_eq!(Outcome::AllPassed.max(Outcome::SomeFailed), Outcome::SomeFailed);
    }
}
