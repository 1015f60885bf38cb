//! What no serial can fulfil: a form that contradicts itself, rules that contradict the form or one another.
//!
//! Only what is certain is said. A policy may still take nothing at all (its check digit may never come out, say); its
//! `example` shows that it takes something.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::{
    form::{Case, Form},
    rule::Rule,
};

/// The first contradiction there is, in a sentence.
pub(super) fn find(form: &Form, rules: &[Rule]) -> Option<String> {
    pattern_and_form(form).or_else(|| rules_and_form(form, rules)).or_else(|| rules_and_rules(rules))
}

/// The pattern, taken apart. None without one; one that is no pattern has been refused before.
fn taken_apart(form: &Form) -> Option<Hir> {
    let pattern = form.pattern.as_ref()?.to_string();
    regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(&pattern).ok()
}

fn pattern_and_form(form: &Form) -> Option<String> {
    let hir = taken_apart(form)?;
    let (least, most) = (hir.properties().minimum_len()?, hir.properties().maximum_len());
    if least > form.length.max {
        return Some(format!("`pattern` wants {least} characters or more, but `length` says {}", form.length));
    }
    if let Some(most) = most.filter(|most| *most < form.length.min) {
        return Some(format!("`pattern` takes {most} characters at most, but `length` says {}", form.length));
    }
    let in_alphabet = |byte: u8| byte.is_ascii_graphic() && form.alphabet.as_ref().is_none_or(|alphabet| alphabet.has(byte));
    if !possible(&hir, &in_alphabet) {
        return Some("`pattern` wants a character that `alphabet`, or any serial, does not have".to_owned());
    }
    let dropped = |byte: u8| form.drop.as_ref().is_some_and(|separators| separators.has(char::from(byte)));
    if !possible(&hir, &|byte| in_alphabet(byte) && !dropped(byte)) {
        return Some("`pattern` wants a separator that `drop` leaves out".to_owned());
    }
    let in_case = |byte: u8| match form.case {
        Case::Keep => true,
        Case::Upper => !byte.is_ascii_lowercase(),
        Case::Lower => !byte.is_ascii_uppercase(),
    };
    let word = if form.case == Case::Upper { "small" } else { "capital" };
    (!possible(&hir, &|byte| in_alphabet(byte) && in_case(byte)))
        .then(|| format!("`pattern` wants {word} letters, but `case` leaves none"))
}

/// Can any text of allowed characters match?
fn possible(hir: &Hir, allowed: &dyn Fn(u8) -> bool) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => literal.0.iter().all(|byte| allowed(*byte)),
        HirKind::Class(Class::Bytes(class)) => class.iter().any(|range| (range.start()..=range.end()).any(allowed)),
        HirKind::Class(Class::Unicode(class)) => class
            .iter()
            .any(|range| (range.start()..=range.end().min('\u{7f}')).any(|character| u8::try_from(character).is_ok_and(allowed))),
        HirKind::Repetition(repetition) => repetition.min == 0 || possible(&repetition.sub, allowed),
        HirKind::Capture(capture) => possible(&capture.sub, allowed),
        HirKind::Concat(all) => all.iter().all(|hir| possible(hir, allowed)),
        HirKind::Alternation(any) => any.iter().any(|hir| possible(hir, allowed)),
    }
}

/// The most characters that a named part can have; none where there is no limit.
fn longest_part(hir: &Hir, name: &str) -> Option<usize> {
    match hir.kind() {
        HirKind::Capture(capture) if capture.name.as_deref() == Some(name) => capture.sub.properties().maximum_len(),
        HirKind::Capture(capture) => longest_part(&capture.sub, name),
        HirKind::Repetition(repetition) => longest_part(&repetition.sub, name),
        HirKind::Concat(all) | HirKind::Alternation(all) => all.iter().find_map(|hir| longest_part(hir, name)),
        _ => None,
    }
}

fn rules_and_form(form: &Form, rules: &[Rule]) -> Option<String> {
    let hir = taken_apart(form);
    rules.iter().find_map(|rule| {
        let range = rule.range()?;
        let most = match (rule.part_names(), &hir) {
            ([], _) => Some(form.length.max),
            ([name], Some(hir)) => longest_part(hir, name),
            _ => None,
        };
        let most = most.filter(|most| *most < range.least_digits())?;
        Some(format!("{rule}, which takes {} digits, but there are {most} at most", range.least_digits()))
    })
}

fn rules_and_rules(rules: &[Rule]) -> Option<String> {
    let pairs = rules.iter().enumerate().flat_map(|(at, one)| rules[at + 1..].iter().map(move |other| (one, other)));
    for (one, other) in pairs.filter(|(one, other)| one.part_names() == other.part_names()) {
        let apart = match (one.range(), other.range(), one.divisible(), other.divisible()) {
            (Some(one), Some(other), ..) => !one.meets(other),
            (Some(range), _, _, Some(by)) | (_, Some(range), Some(by), _) => !range.may_hold_multiple(by),
            _ => false,
        };
        if apart || one.denies(other) || other.denies(one) {
            return Some(format!("two rules contradict each other: {one}, but {other}"));
        }
    }
    None
}
