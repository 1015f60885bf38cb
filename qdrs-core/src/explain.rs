//! What every error that a person may read has to answer: a stable code, and how to mend it.

use crate::api::Code;

/// An error for a person: its `Display` says what failed and where; its code is the same in the problem document, on
/// the operator's screen and in the report.
///
/// Neither text may hold a secret.
pub trait Explain: std::error::Error {
    /// The row of the one table of problems ([`crate::api::problem`]).
    fn code(&self) -> Code;

    /// How to mend it, for this very case. The table's text unless there is something better to say.
    fn help(&self) -> String {
        self.code().help().to_owned()
    }

    /// Where it happened (a file and line, a port), unless the text says it already.
    fn at(&self) -> Option<String> {
        None
    }

    /// The single faults, when this error stands for several that are told at once.
    fn each(&self) -> Vec<&dyn Explain> {
        Vec::new()
    }
}
