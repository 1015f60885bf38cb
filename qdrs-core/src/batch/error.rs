//! Why a batch can't be used at all, or not as it is.

use std::{io, path::PathBuf};

use crate::{api::Code, explain::Explain};

use super::{Examined, advice, good_ones};

/// Why a batch can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The file can't be read at all.
    #[error("the batch `{}` can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("`{}` {why}", path.display())]
    NoBatch {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
        /// How to mend it.
        help: String,
    },
    /// It does not say which column holds the serials.
    #[error("{why}")]
    Unclear {
        /// Where.
        at: String,
        /// What could be meant.
        why: String,
        /// How to say which.
        help: String,
    },
    /// Some rows are wrong.
    #[error("{} of the {} rows in `{}` can't be used", .0.bad.count(), .0.rows, .0.path.display())]
    Rows(Box<Examined>),
}

impl Explain for BatchError {
    fn code(&self) -> Code {
        Code::BatchInvalid
    }

    fn at(&self) -> Option<String> {
        match self {
            Self::Unclear { at, .. } => Some(at.clone()),
            _ => None,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Unreadable { .. } => "check the path and that this user may read the file".into(),
            Self::NoBatch { help, .. } | Self::Unclear { help, .. } => help.clone(),
            Self::Rows(examined) => {
                let mend = advice(examined).unwrap_or("correct the rows at their source, or in a text editor: a spreadsheet program may drop zeros in front of numbers");
                match examined.good() {
                    0 => mend.to_owned(),
                    _ if !examined.can_skip() => {
                        format!("{mend}; nothing was done yet, and `--skip-bad` would leave out rows that nobody could read")
                    }
                    good => format!("{mend}; nothing was done yet, and `--skip-bad` goes on with {}", good_ones(good)),
                }
            }
        }
    }

    fn each(&self) -> Vec<&dyn Explain> {
        match self {
            Self::Rows(examined) => examined.faults().map(|fault| fault as &dyn Explain).collect(),
            _ => Vec::new(),
        }
    }
}
