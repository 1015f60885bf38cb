//! What only the whole column shows, where no policy is at hand: zeros that some serials lost, and serials that look like
//! no other.
//!
//! Rows are kept by the shape of their serial, so that a million alike take as little as one.

use std::collections::{BTreeMap, HashMap};

use super::{finding::Findings, kind::Kind, ranges::Ranges, record::Cell, shape};

/// The most shapes that are told apart.
const SHAPES_MAX: usize = 512;
/// How few serials tell nothing of zeros that some may have lost by chance.
const SERIALS_MIN: usize = 20;
/// How few digits are no serial that zeros would fill up.
const DIGITS_MIN: usize = 6;
/// How many zeros in front a serial has by chance, at most.
const ZEROS_MAX: usize = 4;
/// How few serials have no usual shape.
const USUAL_MIN: usize = 10;
/// How many serials of a shape are kept as examples.
const EXAMPLES_MAX: usize = 20;
/// How few digits tell nothing of a text that has none.
const WORD_DIGITS_MIN: usize = 3;
/// How many serials of another shape are odd, at most.
const ODD_MAX: usize = 3;
/// How many digits a spreadsheet keeps of a number.
const KEPT_DIGITS: usize = 15;

#[derive(Debug, Default)]
struct Alike {
    rows: Ranges,
    /// Rows whose cell is a number.
    numbers: Ranges,
    examples: Vec<(u32, String)>,
    /// Rows whose digits after those that a spreadsheet keeps are all zeros; and the first of them.
    rounded: Ranges,
    rounded_example: String,
    number: String,
}

impl Alike {
    fn example(&self) -> &str {
        self.examples.first().map_or("", |(_, text)| text)
    }
}

/// The serials of a column by their shape.
#[derive(Debug, Default)]
pub(super) struct Column {
    shapes: HashMap<String, Alike>,
    /// The length of the longest number in digits that begins with a zero.
    zero_led: Option<usize>,
    /// Does each number in digits come after a smaller one?
    rising: Option<bool>,
    last: String,
    last_row: u32,
}

impl Column {
    /// Sees one serial.
    pub(super) fn see(&mut self, row: u32, text: &str, kind: Cell) {
        let Some(shape) = shape::of(text) else { return };
        self.last_row = row;
        if shape::is_digits(&shape) {
            if text.starts_with('0') {
                self.zero_led = self.zero_led.max(Some(text.len()));
            }
            let after = (self.last.len(), self.last.as_str()) < (text.len(), text);
            self.rising = Some(self.rising.unwrap_or(true) && after);
            text.clone_into(&mut self.last);
        }
        if self.shapes.len() >= SHAPES_MAX && !self.shapes.contains_key(&shape) {
            return;
        }
        let alike = self.shapes.entry(shape).or_default();
        alike.rows.add(row);
        if alike.examples.len() < EXAMPLES_MAX {
            alike.examples.push((row, text.to_owned()));
        }
        if text.len() > KEPT_DIGITS + 1
            && text.bytes().all(|b| b.is_ascii_digit())
            && text[KEPT_DIGITS..].bytes().all(|b| b == b'0')
        {
            alike.rounded.add(row);
            if alike.rounded_example.is_empty() {
                text.clone_into(&mut alike.rounded_example);
            }
        }
        if kind == Cell::Number {
            alike.numbers.add(row);
            if alike.number.is_empty() {
                text.clone_into(&mut alike.number);
            }
        }
    }

    /// Says what the whole of it shows.
    pub(super) fn conclude(mut self, findings: &mut Findings, is_listed: &dyn Fn(&str) -> bool) {
        self.say_what_is_no_serial(findings);
        let digits: BTreeMap<usize, &Alike> =
            self.shapes.iter().filter(|(shape, _)| shape::is_digits(shape)).map(|(shape, alike)| (shape.len(), alike)).collect();
        let mut lost = Ranges::default();
        if let Some((longest, _)) = digits.last_key_value() {
            let shorter: Vec<_> = digits.range(..longest).collect();
            let short: usize = shorter.iter().map(|(_, alike)| alike.rows.count()).sum();
            let total: usize = digits.values().map(|alike| alike.rows.count()).sum();
            let few = short * 5 <= total;
            let by_chance = total >= SERIALS_MIN
                && *longest >= DIGITS_MIN
                && few
                && shorter.iter().all(|(length, _)| **length + ZEROS_MAX >= *longest)
                && self.rising == Some(false);
            let all = self.zero_led == Some(*longest) || by_chance;
            for (length, alike) in shorter {
                let (rows, example) = if all { (&alike.rows, alike.example()) } else { (&alike.numbers, alike.number.as_str()) };
                let whole = |text: &str| format!("{text:0>longest$}");
                let twin = alike.examples.iter().map(|(_, text)| whole(text)).find(|text| rows.count() > 0 && is_listed(text));
                let twin = twin.map_or_else(String::new, |twin| {
                    format!("; but `{twin}` stands in the list already, so take one of the two out")
                });
                let why = format!("`{}`, as others have {longest} digits{twin}", whole(example));
                findings.add_rows(Kind::ZerosLost, rows, example, &why);
                lost.join(rows);
                let rest = alike.rows.count() - rows.count();
                if rest > 0 && few && *longest >= DIGITS_MIN && length + ZEROS_MAX >= *longest {
                    findings.add_rows(Kind::Shorter, &alike.rows, alike.example(), &format!("the {longest} of most others"));
                }
            }
        }
        lost.sort();
        for (shape, alike) in &self.shapes {
            let (zeros, count) = (shape.len().saturating_sub(KEPT_DIGITS), alike.rounded.count());
            // Chance gives one in a hundred, or in a thousand; ten times as many, and three at least, are no chance.
            if zeros >= 2 && count >= 3 && count * 10_usize.saturating_pow(zeros as u32 - 1) >= alike.rows.count() {
                findings.add_rows(Kind::Rounded, &alike.rounded, &alike.rounded_example, "");
            }
        }
        self.say_taken_numbers(&lost, findings);
        self.say_odd_ones(findings);
    }

    /// A number in the last row, and words, among serials that all look alike and like neither.
    fn say_what_is_no_serial(&mut self, findings: &mut Findings) {
        // How many there are, under them.
        let is_sum = |usual: &str, shape: &str, alike: &Alike| {
            shape::is_digits(shape)
                && !shape::is_digits(usual)
                && shape.len() < usual.len()
                && alike.rows.count() == 1
                && alike.rows.first() == Some(self.last_row)
        };
        let sum = self.usual(1).and_then(|usual| {
            self.shapes.iter().find(|(shape, alike)| is_sum(usual, shape, alike)).map(|(shape, _)| shape.clone())
        });
        if let Some(alike) = sum.and_then(|shape| self.shapes.remove(&shape)) {
            findings.add_rows(Kind::Total, &alike.rows, alike.example(), "");
        }
        let words = || self.shapes.iter().filter(|(shape, _)| shape::digits(shape) == 0);
        let (count, all) = (words().map(|(_, alike)| alike.rows.count()).sum::<usize>(), self.count());
        if self.usual(0).is_none() || count * 3 > all {
            return;
        }
        let words: Vec<String> = words().map(|(shape, _)| shape.clone()).collect();
        for alike in words.iter().filter_map(|shape| self.shapes.remove(shape)) {
            let text_of =
                |row: u32| alike.examples.iter().find(|(told, _)| *told == row).map_or(alike.example(), |(_, text)| text);
            let rows = alike.rows.pieces().iter().flat_map(|(from, to)| *from..=*to);
            rows.for_each(|row| findings.add(Kind::Word, row, text_of(row), String::new));
        }
    }

    /// The shape of nearly all that has digits, but for so many; none where they look different anyway.
    fn usual(&self, but: usize) -> Option<&str> {
        let serials = || self.shapes.iter().filter(|(shape, _)| shape::digits(shape) > 0);
        let (usual, most) = serials().max_by_key(|(shape, alike)| (alike.rows.count(), *shape))?;
        let (count, all) = (most.rows.count(), serials().map(|(_, alike)| alike.rows.count()).sum::<usize>());
        (count > 1 && shape::digits(usual) >= WORD_DIGITS_MIN && (count + but) * 5 >= all * 4).then_some(usual)
    }

    fn count(&self) -> usize {
        self.shapes.values().map(|alike| alike.rows.count()).sum()
    }

    fn say_taken_numbers(&self, lost: &Ranges, findings: &mut Findings) {
        let taken: Vec<&Alike> =
            self.shapes.values().filter(|alike| alike.numbers.first().is_some_and(|row| !lost.has(row))).collect();
        // Only one length is left: the shorter ones are faults.
        if let [alike] = taken[..] {
            let length = alike.number.len();
            let why = format!("all have {length} digits; had they zeros in front, those would be lost");
            findings.add_rows(Kind::Number, &alike.numbers, &alike.number, &why);
        }
    }

    fn say_odd_ones(&self, findings: &mut Findings) {
        let total = self.count();
        let Some((usual, most)) = self.shapes.iter().max_by_key(|(shape, alike)| (alike.rows.count(), *shape)) else { return };
        if total < USUAL_MIN || most.rows.count() * 5 < total * 4 {
            return;
        }
        for (shape, alike) in self.shapes.iter().filter(|(shape, _)| *shape != usual) {
            if shape.eq_ignore_ascii_case(usual) {
                findings.add_rows(Kind::Letters, &alike.rows, alike.example(), "the others");
            } else if alike.rows.count() <= ODD_MAX && !shape::is_digits(shape) {
                for (row, text) in &alike.examples {
                    findings.add(Kind::Odd, *row, text, || format!("`{}`", most.example()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(texts: impl IntoIterator<Item = String>, kind: Cell) -> Vec<(&'static str, usize)> {
        let mut column = Column::default();
        (1..).zip(texts).for_each(|(row, text)| column.see(row, &text, kind));
        let mut findings = Findings::default();
        column.conclude(&mut findings, &|_| false);
        findings.counts()
    }

    #[test]
    fn zeros_are_lost_where_others_have_them_or_by_chance_and_not_where_numbers_grow() {
        let texts = |numbers: &[u32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>();
        let chance: Vec<u32> = (1..=40).map(|number| number * 7_654_321 % 1_000_000).collect();
        assert_eq!(said(["0041713".to_owned(), "41720".to_owned()], Cell::Text), [("zeros-lost", 1)]);
        assert_eq!(said(texts(&chance), Cell::Text), [("zeros-lost", chance.iter().filter(|number| **number < 100_000).count())]);
        let growing: Vec<u32> = (99_995..100_050).collect();
        assert_eq!(said(texts(&growing), Cell::Text), [("shorter", 5)]);
        assert_eq!(said(texts(&growing), Cell::Number), [("zeros-lost", 5), ("number", 50)]);
        assert_eq!(said(texts(&[7, 12, 130]), Cell::Text), []);
    }

    #[test]
    fn digits_that_a_spreadsheet_made_zeros_are_told_where_chance_makes_none() {
        let texts = |step: u64, count: u64| (0..count).map(move |number| (123_456_789_012_345_678 + number * step).to_string());
        assert_eq!(said(["490154203237518000".to_owned()], Cell::Text), []);
        assert_eq!(said(texts(1, 3000), Cell::Text), [], "three of them by counting");
        let rounded = (1..=4).map(|number| format!("{}000", 123_456_789_012_345_u64 + number));
        assert_eq!(said(texts(7, 20).chain(rounded), Cell::Text), [("rounded", 4)]);
    }

    #[test]
    fn what_looks_like_no_other_is_told() {
        let list = (0..20).map(|number| format!("AB{:04}", 1000 + number)).collect::<Vec<_>>().into_iter();
        let odd = list.clone().chain(["ab1020".to_owned(), "AB-1021".to_owned()]);
        assert_eq!(said(odd, Cell::Text), [("letter-case", 1), ("odd", 1)]);
        let ended = list.clone().chain(["EOF".to_owned(), "20".to_owned()]);
        assert_eq!(said(ended, Cell::Text), [("total-row", 1), ("no-digit", 1)]);
    }

    #[test]
    fn words_are_serials_where_others_look_different_or_are_words() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(said(texts(&["ALPHA", "BRAVO", "CHARLIE"]), Cell::Text), []);
        assert_eq!(said(texts(&["K7QMXA", "ABCDEF", "9PLQR2", "XX83ZB"]), Cell::Text), []);
        assert_eq!(said(texts(&["AB1000", "AB1001", "Ende"]), Cell::Text), [("no-digit", 1)]);
        assert_eq!(said(texts(&["AB1000", "ALPHA", "BRAVO"]), Cell::Text), []);
    }
}
