//! Why a call to the service failed.

use crate::{
    api::{Code, Problem},
    explain::Explain,
};

/// Why a call to the service failed, after all tries that could help.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The service says no, and why.
    #[error("{}", said(.0))]
    Refused(Box<Problem>),
    /// No connection, no answer in time, or something between that is away.
    #[error("the service at `{service}` can't be reached: {why}")]
    Unreachable {
        /// Its URL.
        service: String,
        /// What happened in the last try.
        why: String,
    },
    /// Another CA than expected, another host's certificate, or one that is out of its dates.
    #[error("the certificate of `{service}` is not trusted: {why}")]
    Untrusted {
        /// The service's URL.
        service: String,
        /// What is wrong with it.
        why: String,
        /// It is outside its dates, so this computer's clock may be what is wrong.
        clock: bool,
    },
    /// There is an answer, but not one of a QDRS service of this version.
    #[error("the service's answer makes no sense: {why}")]
    Answer {
        /// What is wrong with it.
        why: String,
    },
    /// The credential is not for this access code, job, device or hub.
    #[error("the service's credential can't be used: {why}")]
    Seal {
        /// What is wrong with it.
        why: String,
    },
    /// A setting that nothing can be sent with.
    #[error("{why}")]
    Setting {
        /// Which, and what is wrong with it.
        why: String,
    },
}

impl ClientError {
    /// The service's own document, when it is the service that says no.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }
}

fn said(problem: &Problem) -> &str {
    [&problem.detail, &problem.title, &problem.code]
        .into_iter()
        .find(|text| !text.is_empty())
        .map_or("the service refuses", String::as_str)
}

impl Explain for ClientError {
    fn code(&self) -> Code {
        match self {
            Self::Refused(problem) => Code::find(&problem.code).unwrap_or_else(|| of_status(problem.status)),
            Self::Unreachable { .. } => Code::ServiceUnreachable,
            Self::Untrusted { .. } => Code::CertificateUntrusted,
            Self::Answer { .. } => Code::AnswerInvalid,
            Self::Seal { .. } => Code::SealBroken,
            Self::Setting { .. } => Code::SettingInvalid,
        }
    }

    fn help(&self) -> String {
        match self {
            // The service may know more about this very case than the table does.
            Self::Refused(problem) if !problem.help.is_empty() => problem.help.clone(),
            Self::Untrusted { clock: true, .. } => {
                "set this computer's clock; if it is right, the owner renews the service's certificate".to_owned()
            }
            _ => self.code().help().to_owned(),
        }
    }
}

/// A newer service's code that this version does not know: its status says at least what it means for the run.
fn of_status(status: u16) -> Code {
    match status {
        401 | 403 => Code::NotPermitted,
        409 | 422 => Code::ProductRefused,
        429 => Code::CodeRateLimited,
        500.. => Code::Internal,
        _ => Code::BadRequest,
    }
}
