//! Why a command ended early, and how it is said: `error: …`, `   at: …`, ` help: …`.

use std::{error::Error, fmt};

use anstyle::{AnsiColor, Style};
use qdrs_core::{api::Code, explain::Explain};
use serde_json::json;

use crate::{outcome::Outcome, printer::printable};

/// Any error that a person may read, on its way to `main`.
///
/// Every [`Explain`] becomes one by `?`.
pub struct Failure {
    error: Box<dyn Explain + Send + Sync>,
    at: Option<String>,
}

impl<E: Explain + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Box::new(error), at: None }
    }
}

impl Failure {
    /// An error that is said in one place only and needs no type of its own.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Plain { code, text: text.into(), help: None }.into()
    }

    /// The same, with a help of its own.
    pub fn with_help(code: Code, text: impl Into<String>, help: impl Into<String>) -> Self {
        Plain { code, text: text.into(), help: Some(help.into()) }.into()
    }

    /// Adds where it happened, unless the error knows better.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.at = Some(place.to_string());
        self
    }

    /// The row of the one table.
    pub fn code(&self) -> Code {
        self.error.code()
    }

    /// The sentence without code, place and help.
    pub fn text(&self) -> String {
        self.error.to_string()
    }

    /// How the run ends.
    pub fn outcome(&self) -> Outcome {
        self.code().into()
    }

    /// As it is said on the terminal, with colours; each error of several has its own place, and all share one help.
    pub fn said(&self) -> String {
        let (error, dim, help) = (AnsiColor::Red.on_default().bold(), Style::new().dimmed(), AnsiColor::Cyan.on_default().bold());
        let mut text = String::new();
        let mut say = |what: &dyn Explain, at: Option<String>| {
            text.push_str(&format!("{error}error:{error:#} {} {dim}({}){dim:#}\n", printable(&what.to_string()), what.code()));
            if let Some(at) = at {
                text.push_str(&format!("{dim}   at:{dim:#} {}\n", printable(&at)));
            }
        };
        let each = self.error.each();
        for one in &each {
            say(*one, one.at());
        }
        if each.is_empty() || each.len() > 1 {
            say(&*self.error, self.place());
        }
        text.push_str(&format!("{help} help:{help:#} {}\n", printable(&self.error.help())));
        text
    }

    /// As `--json` says it.
    pub fn json(&self) -> serde_json::Value {
        let faults: Vec<_> = self.error.each().iter().map(|one| json!({ "message": one.to_string(), "at": one.at() })).collect();
        let mut event = json!({
            "v": 1, "event": "error", "code": self.code().as_str(), "message": self.text(), "help": self.error.help(),
            "turn": self.code().row().turn, "outcome": self.outcome().as_str(),
        });
        if let Some(at) = self.place() {
            event["at"] = at.into();
        }
        if !faults.is_empty() {
            event["faults"] = faults.into();
        }
        event
    }

    fn place(&self) -> Option<String> {
        self.error.at().or_else(|| self.at.clone())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.error, self.code())
    }
}

/// An error of one place.
#[derive(Debug)]
struct Plain {
    code: Code,
    text: String,
    help: Option<String>,
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Plain {}

impl Explain for Plain {
    fn code(&self) -> Code {
        self.code
    }

    fn help(&self) -> String {
        self.help.clone().unwrap_or_else(|| self.code.help().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use qdrs_core::batch::Rules;

    use super::*;
    use crate::batch::Reading;

    fn without_colours(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn an_error_says_what_where_and_how_to_mend_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("serials.csv");
        let opened = |text: &str| {
            std::fs::write(&file, text).expect("writes");
            Failure::from(Reading::default().batch(&file, &Rules::none()).expect_err("faulty"))
        };
        let (one, two) = (opened("serial\nA1\n ,x\n"), opened("serial\nA1\nA1\n ,x\n"));
        let here = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
        let plain = Failure::new(Code::ServiceUnreachable, "the service does not answer").at("https://qdrs.example/");
        insta::assert_snapshot!(here(without_colours(&[one.said(), two.said(), plain.said()].join("\n"))));
        insta::assert_snapshot!(here(format!("{}\n{}", two.json(), plain.json())));
        assert_eq!(plain.outcome(), Outcome::Unreachable);
    }
}
