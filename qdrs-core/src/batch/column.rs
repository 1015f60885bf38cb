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
/// How many serials of another shape are odd, at most.
const ODD_MAX: usize = 3;

#[derive(Debug, Default)]
struct Alike {
    rows: Ranges,
    /// Rows whose cell is a number.
    numbers: Ranges,
    example: String,
    number: String,
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
}

impl Column {
    /// Sees one serial.
    pub(super) fn see(&mut self, row: u32, text: &str, kind: Cell) {
        let Some(shape) = shape::of(text) else { return };
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
        if alike.example.is_empty() {
            text.clone_into(&mut alike.example);
        }
        if kind == Cell::Number {
            alike.numbers.add(row);
            if alike.number.is_empty() {
                text.clone_into(&mut alike.number);
            }
        }
    }

    /// Says what the whole of it shows.
    pub(super) fn conclude(self, findings: &mut Findings) {
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
                let (rows, example) = if all { (&alike.rows, &alike.example) } else { (&alike.numbers, &alike.number) };
                findings.add_rows(
                    Kind::ZerosLost,
                    rows,
                    example,
                    &format!("`{example:0>longest$}`, as others have {longest} digits"),
                );
                lost.join(rows);
                let rest = alike.rows.count() - rows.count();
                if rest > 0 && few && *longest >= DIGITS_MIN && length + ZEROS_MAX >= *longest {
                    findings.add_rows(Kind::Shorter, &alike.rows, &alike.example, &format!("the {longest} of most others"));
                }
            }
        }
        lost.sort();
        self.say_taken_numbers(&lost, findings);
        self.say_odd_ones(findings);
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
        let total: usize = self.shapes.values().map(|alike| alike.rows.count()).sum();
        let Some((usual, most)) = self.shapes.iter().max_by_key(|(shape, alike)| (alike.rows.count(), *shape)) else { return };
        if total < USUAL_MIN || most.rows.count() * 5 < total * 4 {
            return;
        }
        for (shape, alike) in self.shapes.iter().filter(|(shape, _)| *shape != usual) {
            if shape.eq_ignore_ascii_case(usual) {
                findings.add_rows(Kind::Letters, &alike.rows, &alike.example, "the others");
            } else if alike.rows.count() <= ODD_MAX && !shape::is_digits(shape) {
                for (from, to) in alike.rows.pieces() {
                    (*from..=*to).for_each(|row| findings.add(Kind::Odd, row, &alike.example, || format!("`{}`", most.example)));
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
        column.conclude(&mut findings);
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
    fn what_looks_like_no_other_is_told() {
        let list = (0..20).map(|number| format!("AB{:04}", 1000 + number));
        assert_eq!(said(list.chain(["ab1020".to_owned(), "AB-1021".to_owned()]), Cell::Text), [("letter-case", 1), ("odd", 1)]);
    }
}
