//! What no serial can fulfil: a form that contradicts itself, rules that contradict the form or one another.
//!
//! Only what is certain is said. A policy may still take nothing at all (its check digit may never come out, say); its
//! `example` shows that it takes something.

use regex_syntax::hir::{Class, Hir, HirKind, literal::Extractor};

use super::{
    Written,
    device_id::{DEVICE_ID_CHARS_MAX, Template, is_safe},
    form::{Case, Form},
    product::Product,
    rule::Rule,
};

/// The first contradiction there is, in a sentence.
pub(super) fn find(policy: &Written) -> Option<String> {
    let Written { product, device_id, form, rules, .. } = policy;
    let room = Room { form, pattern: taken_apart(form) };
    pattern_and_form(form)
        .or_else(|| rules.iter().flat_map(Rule::wanted).find_map(|rule| rule_and_form(rule, &room)))
        .or_else(|| rules_and_rules(rules))
        .or_else(|| product.as_ref().and_then(|product| product.fault().or_else(|| product_and_form(product, &room))))
        .or_else(|| device_id_and_form(device_id, &room))
}

/// What the form leaves for the serial and its parts.
struct Room<'p> {
    form: &'p Form,
    /// None where there is no pattern.
    pattern: Option<Hir>,
}

impl Room<'_> {
    /// Is the character one that a serial in its normal form may have?
    fn has(&self, byte: u8) -> bool {
        let in_case = match self.form.case {
            Case::Keep => true,
            Case::Upper => !byte.is_ascii_lowercase(),
            Case::Lower => !byte.is_ascii_uppercase(),
        };
        byte.is_ascii_graphic() && in_case && self.form.alphabet.as_ref().is_none_or(|alphabet| alphabet.has(byte))
    }

    /// The pattern of what is called so; of the whole serial without a name. None where nothing is known of it.
    fn of(&self, name: Option<&str>) -> Option<&Hir> {
        let pattern = self.pattern.as_ref()?;
        name.map_or(Some(pattern), |name| part(pattern, name))
    }

    /// The fewest and the most characters of it.
    fn lengths(&self, name: Option<&str>) -> (usize, usize) {
        let properties = self.of(name).map(Hir::properties);
        let least = properties.and_then(|known| known.minimum_len()).unwrap_or(1);
        let most = properties.and_then(|known| known.maximum_len()).unwrap_or(usize::MAX).min(self.form.length.max);
        if name.is_none() { (least.max(self.form.length.min), most) } else { (least, most) }
    }

    /// May it have only characters that are taken?
    fn may_be_all(&self, name: Option<&str>, taken: &dyn Fn(u8) -> bool) -> bool {
        let taken = |byte: u8| self.has(byte) && taken(byte);
        self.of(name).map_or_else(|| (0..128).any(taken), |pattern| possible(pattern, &taken))
    }
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

/// What a named part is matched by.
fn part<'h>(hir: &'h Hir, name: &str) -> Option<&'h Hir> {
    match hir.kind() {
        HirKind::Capture(capture) if capture.name.as_deref() == Some(name) => Some(&capture.sub),
        HirKind::Capture(capture) => part(&capture.sub, name),
        HirKind::Repetition(repetition) => part(&repetition.sub, name),
        HirKind::Concat(all) | HirKind::Alternation(all) => all.iter().find_map(|hir| part(hir, name)),
        _ => None,
    }
}

/// Has what a rule is about the length and the characters that it wants?
fn rule_and_form(rule: &Rule, room: &Room<'_>) -> Option<String> {
    let about: Vec<Option<&str>> = match rule.part_names() {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let (wanted_least, wanted_most) = rule.lengths();
    let lengths = about.iter().map(|name| room.lengths(*name));
    let (least, most) = lengths.fold((0_usize, 0_usize), |(least, most), (a, b)| (least + a, most.saturating_add(b)));
    let have = |count: usize| if count == 1 { "there is 1".to_owned() } else { format!("there are {count}") };
    if most < wanted_least {
        return Some(format!("{rule}, which takes {wanted_least} characters or more, but {} at most", have(most)));
    }
    if least > wanted_most {
        return Some(format!("{rule}, which takes {wanted_most} characters at most, but {} or more", have(least)));
    }
    if !about.iter().all(|name| room.may_be_all(*name, &|byte| rule.takes(byte))) {
        return Some(format!("{rule}, but the form leaves no character that this takes"));
    }
    let missing = rule.signed()?.missing_in(&|byte| room.has(byte))?;
    Some(format!("{rule}, but the form leaves no `{missing}`, which some of them have"))
}

fn product_and_form(product: &Product, room: &Room<'_>) -> Option<String> {
    product.prefixes().find_map(|prefix| {
        if let Some(strange) = prefix.bytes().find(|byte| !room.has(*byte)) {
            let strange = char::from(strange);
            return Some(format!("`product` has the prefix `{prefix}`, but no serial in its normal form has a `{strange}`"));
        }
        let begins = Extractor::new().extract(room.of(None)?);
        let meets = |literal: &[u8]| literal.starts_with(prefix.as_bytes()) || prefix.as_bytes().starts_with(literal);
        let apart = begins.literals().is_some_and(|literals| !literals.iter().any(|literal| meets(literal.as_bytes())));
        apart.then(|| format!("`product` has the prefix `{prefix}`, but no serial that `pattern` takes begins so"))
    })
}

fn device_id_and_form(device_id: &Template, room: &Room<'_>) -> Option<String> {
    let (fixed, pieces) = device_id.pieces();
    let least = pieces.iter().fold(fixed, |least, piece| least + room.lengths(*piece).0);
    if least > DEVICE_ID_CHARS_MAX {
        return Some(format!("`device_id` would have {least} characters or more; a hub takes {DEVICE_ID_CHARS_MAX}"));
    }
    pieces.into_iter().find(|piece| !room.may_be_all(*piece, &|byte| is_safe(char::from(byte)))).map(|piece| {
        let what = piece.map_or_else(|| "the serial".to_owned(), |name| format!("`{name}`"));
        format!("each device id would have {what} in it, and `pattern` gives it a character that no hub takes; build `device_id` of other parts")
    })
}

fn rules_and_rules(rules: &[Rule]) -> Option<String> {
    let pairs = rules.iter().enumerate().flat_map(|(at, one)| rules[at + 1..].iter().map(move |other| (one, other)));
    for (one, other) in pairs.filter(|(one, other)| one.part_names() == other.part_names()) {
        let apart = match (one.range(), other.range(), one.divisible(), other.divisible()) {
            (Some(one), Some(other), ..) => !one.meets(other),
            (Some(range), _, _, Some(by)) | (_, Some(range), Some(by), _) => !range.may_hold_multiple(by),
            _ => one.date().zip(other.date()).is_some_and(|(one, other)| !one.meets(other)),
        };
        if one.signed().is_some() && other.signed().is_some() {
            return Some(
                "a serial can't end in two signatures; put the two `signed` rules into one of `kind = \"any\"`".to_owned(),
            );
        }
        if apart || one.denies(other) || other.denies(one) {
            return Some(format!("two rules contradict each other: {one}, but {other}"));
        }
    }
    None
}
