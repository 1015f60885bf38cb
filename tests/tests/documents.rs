//! The documents against the code: the tests, files, commands and flags that they name are there.
//!
//! Other tests hold single documents: `qdrs-service/tests/protocol.rs`, `tests/tests/vendor_sdk.rs` and
//! `qdrs-cli/src/outcome.rs`.

use std::{collections::BTreeSet, fs, path::PathBuf};

use clap::{Command, CommandFactory as _, Parser as _};
use qdrs_tests::repository;

/// Every file of the repository with this ending, what was installed or built left out.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository().canonicalize().expect("the repository")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if entry.is_dir() && !matches!(name, "target" | "node_modules" | ".git") {
                folders.push(entry);
            } else if name.ends_with(ending) {
                found.push(entry);
            }
        }
    }
    found
}

/// Each document with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).expect("text"));
    let documents: Vec<_> = files(".md").into_iter().map(read).collect();
    assert!(documents.iter().any(|(path, _)| path.ends_with("ARCHITECTURE.md")) && documents.len() > 6, "{documents:?}");
    documents
}

/// The text without its fenced blocks, and the blocks.
fn parts(text: &str) -> (String, Vec<&str>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    for (number, part) in text.split("\n```").enumerate() {
        if number % 2 == 0 { prose.push_str(part) } else { blocks.push(part) }
    }
    (prose, blocks)
}

/// What stands between backticks, line ends in it made blanks.
fn inline_code(prose: &str) -> impl Iterator<Item = String> {
    prose.split('`').skip(1).step_by(2).map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn each_test_that_a_document_names_exists() {
    let sources: String = files(".rs").iter().map(|path| fs::read_to_string(path).expect("text")).collect();
    let tests: BTreeSet<&str> = sources
        .split("fn ")
        .skip(1)
        .filter_map(|rest| rest.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').next())
        .collect();
    let is_a_tests_name = |code: &String| {
        code.matches('_').count() >= 3 && code.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_')
    };
    let mut named = 0;
    let with_tests = ["ARCHITECTURE.md", "samples/practice-button/README.md"];
    for (path, text) in documents().into_iter().filter(|(path, _)| with_tests.iter().any(|name| path.ends_with(name))) {
        for name in inline_code(&parts(&text).0).filter(is_a_tests_name) {
            assert!(tests.contains(name.as_str()), "{} names `{name}`, and there is no such test", path.display());
            named += 1;
        }
    }
    assert!(named > 50, "only {named} names were found");
}

#[test]
fn each_link_of_a_document_leads_to_a_file() {
    for (path, text) in documents() {
        let folder = path.parent().expect("a file has a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let there = target.is_empty() || target.contains("://") || folder.join(target).exists();
            assert!(there, "{} links to `{target}`, which is not there", path.display());
        }
    }
}

/// The words of a command line, up to a comment or a redirection. Quotation marks hold words together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in line.chars().chain([' ']) {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                if matches!(word.as_str(), "#" | ">" | "|" | "&" | "&&") {
                    break;
                }
                let word = std::mem::take(&mut word);
                if !word.is_empty() {
                    words.push(word);
                }
            }
            other => word.push(other),
        }
    }
    words
}

fn program(words: &[String]) -> Option<Command> {
    match words.first()?.as_str() {
        "qdrs" => Some(qdrs_cli::command::Cli::command()),
        "qdrs-service" => Some(qdrs_service::command::Cli::command()),
        _ => None,
    }
}

/// What the program does not have of a line's subcommands and flags. Values may be anything; `…` stands for words left out.
fn unknown(words: &[String]) -> Option<String> {
    let mut command = program(words)?;
    command.build();
    for word in &words[1..] {
        if let Some(name) = word.strip_prefix("--").map(|flag| flag.split('=').next().unwrap_or(flag)) {
            if !name.is_empty() && !command.get_arguments().any(|arg| arg.get_long() == Some(name)) {
                return Some(word.clone());
            }
        } else if let Some(inner) = command.find_subcommand(word) {
            command = inner.clone();
        } else if command.has_subcommands() {
            let is_open = word == "…" || word == "COMMAND" || word.split('|').all(|word| command.find_subcommand(word).is_some());
            return if is_open { None } else { Some(word.clone()) };
        }
    }
    None
}

#[test]
fn each_command_and_flag_that_a_document_names_exists() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for (path, text) in documents() {
        let (prose, blocks) = parts(&text);
        for code in inline_code(&prose) {
            let words = words(&code);
            checked += usize::from(program(&words).is_some());
            wrong.extend(unknown(&words).map(|word| format!("{}: `{code}`: there is no `{word}`", path.display())));
        }
        for block in blocks.iter().filter_map(|block| block.strip_prefix("sh\n").or_else(|| block.strip_prefix("console\n"))) {
            for line in block.replace("\\\n", " ").lines() {
                let line = line.strip_prefix("$ ").unwrap_or(line).replace("cargo run --release --bin qdrs --", "qdrs");
                let words = words(&line);
                let failed = match words.first().map(String::as_str) {
                    Some("qdrs") => qdrs_cli::command::Cli::try_parse_from(&words).err(),
                    Some("qdrs-service") => qdrs_service::command::Cli::try_parse_from(&words).err(),
                    _ => continue,
                };
                checked += 1;
                wrong.extend(failed.map(|error| format!("{}: `{line}`: {error}", path.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 60, "only {checked} commands were found");
}
