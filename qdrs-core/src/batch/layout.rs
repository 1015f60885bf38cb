//! Which column holds the serials, whether there is a header, and which further columns come along or are asked for.
//!
//! The column is the one that is asked for; else the one whose header is called `serial`, `serial number` or alike; else
//! the only one that looks like serials; else the first. Where two could be meant, nobody guesses: that is a fault.

use std::collections::HashSet;

use crate::serial::Shown;

use super::{
    boards,
    damage::{self, Damage},
    record::Record,
    rules::Rules,
    secret, shape,
};

/// How many rows are looked at.
pub(super) const HEAD_ROWS: usize = 200;
/// How many rows a title may take above a header that only speaks of serials, or is one by its looks.
const TITLE_ROWS_MAX: usize = 10;
/// How many rows may stand above a header with a column's very name.
const HEADER_ROW_MAX: usize = 50;
/// How few rows tell nothing about a column.
const ROWS_MIN: usize = 3;
/// How few digits no serial has, for a column that nobody named.
const DIGITS_MIN: usize = 4;
/// The most further columns that come along.
pub(super) const EXTRA_COLUMNS_MAX: usize = 32;
/// The longest name of a column that is kept, in characters.
const NAME_CHARS_MAX: usize = 64;

/// What a column of serials is called, without blanks and signs.
const NAMES: [&str; 30] = [
    "serial",
    "serialnumber",
    "serialno",
    "serialnr",
    "serialnum",
    "serials",
    "serialnumbers",
    "sn",
    "sno",
    "seriennummer",
    "seriennummern",
    "seriennr",
    "snr",
    "numérodesérie",
    "numerodeserie",
    "númerodeserie",
    "numerodiserie",
    "numérosérie",
    "matricola",
    "serienummer",
    "serienr",
    "序列号",
    "序號",
    "シリアル番号",
    "シリアル",
    "シリアルno",
    "製造番号",
    "序列號",
    "ndesérie",
    "ndeserie",
];

/// Which columns somebody asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    /// The serials': its name, its number from 1, or in a sheet its letter.
    pub(super) column: Option<&'a str>,
    /// Others that must be there.
    pub(super) beside: &'a [String],
    /// Is it a policy's rule that asks, and no flag?
    pub(super) in_rule: bool,
    /// True if columns and cells that may hold secrets come along all the same.
    pub(super) keep_secrets: bool,
    /// Whether the first row is a header. `None`: found out.
    pub(super) header: Option<bool>,
}

impl Asked<'_> {
    /// What to write so that this column is taken.
    fn words(&self, header: Option<&Record>, column: usize, letters: bool) -> String {
        let name = argument(header, column, letters);
        match (self.in_rule, name.starts_with('\'')) {
            (false, _) => format!("`--column {name}`"),
            (true, true) => format!("`column = {name}`"),
            (true, false) => format!("`column = '{name}'`"),
        }
    }
}

/// What a longer name has in it.
const STEMS: [&str; 6] = ["serial", "seriennummer", "seriennr", "numérodesérie", "numerodeserie", "serienummer"];

/// What goes on after `serial` where no number is meant: an interface, or a day on which something was serialised.
const OTHER_SERIAL: [&str; 8] = ["interface", "port", "is", "iz", "cable", "bus", "console", "comm"];

/// A further column that comes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Further {
    /// Its place, from 0.
    pub(super) column: usize,
    /// Its name, or its place in words.
    pub(super) name: String,
    /// True if a cell with a secret in it comes along as well.
    pub(super) keeps_all: bool,
    /// True if long random values are no secrets in this column.
    pub(super) is_harmless: bool,
}

/// Where things stand in each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The serials' column, from 0.
    pub(super) column: usize,
    /// Its name, if there is a header.
    pub(super) name: Option<String>,
    /// The header's line.
    pub(super) header: Option<u32>,
    /// The first line above the header that is not empty, if it is not the header.
    pub(super) title: Option<u32>,
    /// How many columns a row should have: the header's, without a header the most of the first rows.
    pub(super) width: usize,
    /// The further columns that are asked for, from 0.
    pub(super) beside: Vec<usize>,
    /// The further columns that come along.
    pub(super) extras: Vec<Further>,
    /// Columns that may hold secrets, from 0, with their names in words. They stay out unless they are asked for.
    pub(super) secrets: Vec<(usize, String)>,
    /// Further columns that hold hardware ids, from 0.
    pub(super) boards: Vec<usize>,
    /// What the texts of these columns look like: a cell of the serials that does is one of them in the wrong place.
    pub(super) secret_shapes: HashSet<String>,
    /// True if the first cells of most rows begin with `#`, as where rows are numbered so.
    pub(super) numbered: bool,
    /// True if the serials themselves may look like keys.
    pub(super) serials_like_keys: bool,
    /// How many further columns stay out, since a batch has no more than [`EXTRA_COLUMNS_MAX`].
    pub(super) extras_over: usize,
    /// What the serials look like, if they look alike.
    pub(super) shape: Option<String>,
    /// Other columns that look like serials in most rows.
    pub(super) alike: Vec<usize>,
    /// Was the column found by its looks alone, and not the first?
    pub(super) guessed: bool,
    /// Is the header one by its looks alone?
    pub(super) unnamed: bool,
}

/// Why no column could be found: one sentence, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unclear {
    pub(super) line: Option<u32>,
    pub(super) why: String,
    pub(super) help: String,
}

/// Is it what a column of serials is called?
pub(super) fn is_a_name(cell: &str) -> bool {
    NAMES.contains(&word(cell).as_str())
}

fn word(cell: &str) -> String {
    cell.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
}

/// "Serial number of the device": nobody's serial says so and has no digit.
fn speaks_of_serials(cell: &str) -> bool {
    let word = word(cell);
    let speaks =
        |stem: &&str| word.split_once(*stem).is_some_and(|(_, rest)| !OTHER_SERIAL.iter().any(|other| rest.starts_with(other)));
    is_a_name(cell) || (!word.contains(|c: char| c.is_ascii_digit()) && STEMS.iter().any(speaks))
}

impl Layout {
    /// Finds it out from the first rows. `letters`: columns may be asked for by letter, as in a sheet.
    pub(super) fn of(head: &[Record], asked: &Asked<'_>, rules: &Rules, letters: bool) -> Result<Self, Unclear> {
        let at = match asked.header {
            Some(false) => None,
            said => header(head, asked, rules, letters).or(said.map(|_| 0)),
        };
        let header = at.map(|at| &head[at]);
        let rows = &head[at.map_or(0, |at| at + 1)..];
        let width = header.map_or_else(|| head.iter().map(Record::len).max().unwrap_or(0), Record::len).max(1);
        let widest = head.iter().map(Record::len).max().unwrap_or(0).max(width);
        let label = |column: usize| label(header, column, letters);
        let shown = |column: usize| {
            let first = rows.iter().map(|row| row.get(column).trim()).find(|text| !text.is_empty()).unwrap_or_default();
            format!("{} (`{}`, …)", label(column), Shown::new(&secret::masked(first)))
        };
        let requested = |name: &str| by_request(name, asked, header, widest, letters);
        let beside = asked.beside.iter().map(|name| requested(name)).collect::<Result<Vec<_>, _>>()?;
        let secrecy: Vec<Option<Secrecy>> = (0..widest).map(|column| secrecy(rows, header, column, rules)).collect();
        let others = (0..widest).filter(|column| !beside.contains(column) && secrecy[*column].is_none());
        let alike: Vec<usize> = others.filter(|column| looks_like_serials(rows, *column, rules)).collect();
        let mut guessed = false;
        let column = match (asked.column, header) {
            (Some(name), _) => requested(name)?,
            (None, Some(header)) if header.cells().any(speaks_of_serials) => by_name(header, &alike, rules, asked, letters)?,
            _ if several_in_a_row(rows, rules) => {
                return Err(Unclear {
                    line: rows.first().map(|row| row.line),
                    why: format!("the row has several texts that look like serial numbers, {} and others", shown(0)),
                    help: "write one serial number a row; or, if one of these is meant, say `--column N`".into(),
                });
            }
            _ => match alike[..] {
                // Nothing looks like serials, or the first column does and no other.
                [] | [0] => 0,
                [only] => {
                    guessed = true;
                    only
                }
                [one, other, ..] => {
                    return Err(Unclear {
                        line: None,
                        why: format!("two columns look like serial numbers, {} and {}", shown(one), shown(other)),
                        help: format!("say which with {}", asked.words(header, one, letters)),
                    });
                }
            },
        };
        // A person may say that long random texts are serials; a column that is called a secret is one.
        if let Some(secrecy) = secrecy[column].filter(|secrecy| asked.column.is_none() || *secrecy == Secrecy::Name) {
            let column = label(column);
            return Err(Unclear {
                line: header.map(|header| header.line),
                why: match secrecy {
                    Secrecy::Name if asked.column.is_some() => format!("{column} holds secrets by its name"),
                    Secrecy::Name => format!("{column} holds secrets by its name, and no other column is plainly that of the serial numbers"),
                    Secrecy::Look => format!("the texts of {column} look like keys or passwords, and no other column is plainly that of the serial numbers"),
                },
                help: match (secrecy, header) {
                    (Secrecy::Name, _) if asked.column.is_some() => "if it has the serial numbers and nothing secret, call it `serial` in the list: a serial number is shown in reports, logs and the hub".into(),
                    _ if asked.in_rule => "name the serials' column in the rule, with `column`".into(),
                    (Secrecy::Look, None) => "say which column has the serial numbers with `--column N`, or write `serial` above it; a serial number is shown in reports, logs and the hub".into(),
                    (Secrecy::Name, _) => "say which column has the serial numbers with `--column NAME`; if it is this one and holds nothing secret, call it `serial` in the list".into(),
                    _ => "say which column has the serial numbers with `--column NAME`; a serial number is shown in reports, logs and the hub".into(),
                },
            });
        }
        if rules.own && asked.column.is_none() && rows.len() >= ROWS_MIN && !alike.contains(&column) {
            let taken = rows.iter().any(|row| rules.check(row.get(column)).is_ok());
            if let (false, [other]) = (taken, &alike[..]) {
                return Err(Unclear {
                    line: None,
                    why: format!("the policy takes no serial of {}, but those of {}", label(column), label(*other)),
                    help: format!("if those are meant, say {}", asked.words(header, *other, letters)),
                });
            }
        }
        if (asked.header, header) == (None, None)
            && let Some(first) = unlike_all_others(rows, column)
        {
            return Err(Unclear {
                line: Some(rows[0].line),
                why: format!(
                    "`{}` may be the name of the column or the first serial number: it looks like no other row",
                    Shown::new(&secret::masked(first))
                ),
                help: match asked.in_rule {
                    true => "write a first line `serial`, and delete this line if it is only the name".into(),
                    false => "say which: `--header yes` or `--header no`".into(),
                },
            });
        }
        let name_of = |column: usize| {
            let name = header.map(|header| header.get(column).trim()).filter(|name| !name.is_empty());
            name.map(|name| name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect::<String>())
        };
        let filled = |other: &usize| *other != column && rows.iter().any(|row| !row.get(*other).trim().is_empty());
        let secrets = (0..widest).filter(filled).filter(|other| secrecy[*other].is_some());
        let secrets: Vec<(usize, String)> = secrets.map(|other| (other, label(other))).collect();
        let open = |other: &usize| asked.keep_secrets || secrecy[*other].is_none();
        let open: Vec<usize> = (0..widest).filter(filled).filter(open).collect();
        let further = |column: usize| Further {
            column,
            name: name_of(column).unwrap_or_else(|| place(column, letters)),
            keeps_all: asked.keep_secrets,
            is_harmless: name_of(column).is_some_and(|name| secret::is_harmless_name(&name)),
        };
        Ok(Self {
            column,
            name: name_of(column),
            header: header.map(|header| header.line),
            title: at.filter(|at| *at > 0).map(|_| head[0].line),
            width,
            beside,
            extras: open.iter().take(EXTRA_COLUMNS_MAX).map(|column| further(*column)).collect(),
            secret_shapes: {
                let texts = secrets.iter().flat_map(|(column, _)| rows.iter().map(move |row| row.get(*column).trim()));
                texts.filter_map(shape::of).collect()
            },
            secrets,
            boards: (0..widest)
                .filter(|other| *other != column)
                .filter(|other| {
                    let texts = rows.iter().map(|row| row.get(*other).trim()).filter(|text| !text.is_empty());
                    boards::is_of_boards(&name_of(*other).unwrap_or_default(), texts)
                })
                .collect(),
            numbered: rows.iter().filter(|row| row.get(0).trim().starts_with('#')).count() * 2 > rows.len(),
            serials_like_keys: {
                let is_one = |row: &&Record| !rules.own || rules.check(row.get(column)).is_ok();
                rows.iter().filter(|row| secret::is_look(row.get(column))).filter(is_one).count() * 2 > rows.len()
            },
            extras_over: open.len().saturating_sub(EXTRA_COLUMNS_MAX),
            shape: shape::common(rows.iter().map(|row| row.get(column).trim())),
            alike: alike.into_iter().filter(|other| *other != column).collect(),
            guessed,
            unnamed: asked.column.is_none() && header.is_some_and(|header| !header.cells().any(speaks_of_serials)),
        })
    }
}

/// Why a column counts as one of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Name,
    Look,
}

/// Whether the column may hold secrets. The owner's policy and a name that speaks of serials outweigh the look.
fn secrecy(rows: &[Record], header: Option<&Record>, column: usize, rules: &Rules) -> Option<Secrecy> {
    let name = header.map(|header| header.get(column).trim()).unwrap_or_default();
    if secret::is_name(name) {
        return Some(Secrecy::Name);
    }
    let is_harmless = speaks_of_serials(name) || secret::is_harmless_name(name);
    let is_secret = |text: &&str| if is_harmless { secret::holds_marker(text) } else { secret::is_look(text) };
    let texts = || rows.iter().map(|row| row.get(column).trim()).filter(|text| !text.is_empty());
    let (keys, all) = (texts().filter(is_secret).count(), texts().count());
    let are_serials = || rules.own && texts().filter(|text| rules.check(text).is_ok()).count() * 2 >= all;
    (keys > 0 && keys * 2 >= all && !are_serials()).then_some(Secrecy::Look)
}

/// The row that is the header, if there is one.
fn header(head: &[Record], asked: &Asked<'_>, rules: &Rules, letters: bool) -> Option<usize> {
    let has_digit = |row: &Record| row.cells().any(|cell| cell.contains(|c: char| c.is_ascii_digit()));
    // A number is a place, unless a header that is there anyway has it as a name; so is a letter beside numbers.
    let names = asked.column.into_iter().chain(asked.beside.iter().map(String::as_str));
    let names: Vec<&str> = names.filter(|name| name.trim().parse::<usize>().is_err()).collect();
    let has = |row: &Record, name: &str| {
        (!has_digit(row) || place_of(name.trim(), letters).is_none()) && row.cells().any(|cell| same(cell, name))
    };
    let wanted = |row: &Record| !names.is_empty() && names.iter().all(|name| has(row, name));
    let below_data = first_data(head, rules).unwrap_or(head.len());
    let above = |rows_max: usize| head.iter().enumerate().take(rows_max.min(below_data));
    // One cell above several is a title, whatever it speaks of.
    let wide = head.iter().filter(|row| filled(row) > 1).count() * 2 > head.len();
    let full = |row: &Record| !wide || filled(row) > 1;
    let exact = |row: &Record| row.cells().any(is_a_name) || wanted(row);
    let speaks = |row: &Record| row.cells().any(speaks_of_serials);
    let named = above(HEADER_ROW_MAX).find(|(_, row)| full(row) && exact(row));
    let named = named.or_else(|| above(TITLE_ROWS_MAX).find(|(_, row)| full(row) && speaks(row)));
    if let Some((at, _)) = named {
        return Some(at);
    }
    // Words above numbers.
    let looks = above(TITLE_ROWS_MAX).find(|(_, row)| full(row)).filter(|(at, first)| {
        let is_valid = rules.own && first.cells().any(|cell| rules.check(cell).is_ok());
        let is_damaged = |cell: &str| matches!(damage::of(cell.trim()), Some(damage) if !matches!(damage, Damage::TypographicQuotes | Damage::FullWidth));
        // A word with a digit above it may be a serial.
        let may_be_serial = |cell: &str| cell.contains(|c: char| c.is_ascii_digit()) && !cell.trim().contains(char::is_whitespace);
        !is_valid
            && !first.cells().any(is_damaged)
            && !has_digit(first)
            && head[at + 1..].iter().any(has_digit)
            && !head[..*at].iter().any(|row| row.cells().any(may_be_serial))
    });
    // A name alone above rows of several cells names the first, where nothing else is a header.
    looks.or_else(|| above(TITLE_ROWS_MAX).find(|(_, row)| exact(row))).map(|(at, _)| at)
}

/// What exports call a column of identifiers, without blanks and signs. A number after it counts columns.
const GENERIC_NAMES: [&str; 38] = [
    "id",
    "ids",
    "no",
    "nr",
    "num",
    "number",
    "nummer",
    "name",
    "device",
    "deviceid",
    "devicename",
    "devices",
    "label",
    "labels",
    "code",
    "codes",
    "barcode",
    "item",
    "unit",
    "value",
    "wert",
    "column",
    "col",
    "spalte",
    "feld",
    "field",
    "imei",
    "iccid",
    "imsi",
    "macid",
    "asset",
    "assetid",
    "assettag",
    "mac",
    "macaddress",
    "eui",
    "deveui",
    "uuid",
];

/// The first cell of the column, if it may be the column's name: it differs in shape from all others, which are alike; or
/// exports call columns so.
fn unlike_all_others(rows: &[Record], column: usize) -> Option<&str> {
    let (first, others) = rows.split_first()?;
    let first = first.get(column).trim();
    let mut others = others.iter().map(|row| row.get(column).trim()).filter(|text| !text.is_empty()).peekable();
    if first.is_empty() || others.peek().is_none() {
        return None;
    }
    let others: Vec<&str> = others.collect();
    let (own, skeleton) = (shape::of(first), shape::skeleton(first));
    let name = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let may_be_name = is_generic(first);
    // A digit more is how numbers grow, but `SN2` is no number before `QD0041713`.
    let kin = |text: &str| shape::skeleton(text) == skeleton && (!may_be_name || text.starts_with(name));
    let unlike = others.iter().all(|text| shape::of(text) != own && !kin(text));
    let alike = || shape::common(others.iter().copied()).is_some_and(|shape| shape::digits(&shape) > 0);
    let beside_names = || {
        let is_once = |(at, cell): (usize, &str)| rows[1..].iter().all(|row| row.get(at) != cell);
        let is_name = |cell: &str| secret::is_name(cell) || is_generic(cell);
        rows[0].cells().enumerate().any(|(at, cell)| is_name(cell) && is_once((at, cell)))
    };
    let is_odd = || others.len() >= ROWS_MIN && alike();
    (unlike && (may_be_name || (first.starts_with(char::is_alphabetic) && (beside_names() || is_odd())))).then_some(first)
}

/// True for what exports call columns, with a number or without.
fn is_generic(cell: &str) -> bool {
    let name = cell.trim().trim_end_matches(|c: char| c.is_ascii_digit());
    is_a_name(name) || GENERIC_NAMES.contains(&word(name).as_str())
}

/// How many cells have something in them.
fn filled(row: &Record) -> usize {
    row.cells().filter(|cell| !cell.trim().is_empty()).count()
}

/// The first row that has what is plainly a serial, so that no row below it is the header.
fn first_data(head: &[Record], rules: &Rules) -> Option<usize> {
    let has_digit = |cell: &str| cell.contains(|c: char| c.is_ascii_digit());
    if rules.own {
        return head.iter().position(|row| row.cells().any(|cell| has_digit(cell) && rules.check(cell).is_ok()));
    }
    let widest = head.iter().map(Record::len).max().unwrap_or(0);
    let shapes: Vec<_> = (0..widest)
        .map(|column| {
            let common = shape::common(head.iter().map(|row| row.get(column).trim()).filter(|text| !text.is_empty()));
            common.filter(|shape| shape::digits(shape) >= DIGITS_MIN)
        })
        .collect();
    let is_usual = |(cell, usual): (&str, &Option<String>)| usual.is_some() && shape::of(cell.trim()) == *usual;
    head.iter().position(|row| row.cells().zip(&shapes).any(is_usual))
}

/// Do so few rows that nothing else tells hold more than one serial each?
fn several_in_a_row(rows: &[Record], rules: &Rules) -> bool {
    if rows.len() >= ROWS_MIN {
        return false;
    }
    let alike = |row: &Record| {
        let texts = || row.cells().map(str::trim).filter(|text| !text.is_empty());
        if rules.own {
            return texts().filter(|text| rules.check(text).is_ok()).count() > 1;
        }
        let shapes: Vec<_> = texts().filter_map(shape::of).filter(|shape| shape::digits(shape) >= DIGITS_MIN).collect();
        shapes.iter().any(|shape| shapes.iter().filter(|other| *other == shape).count() > 1)
    };
    rows.iter().any(alike)
}

/// The column that is asked for as `3`, or as `B` of a sheet; from 0.
fn place_of(asked: &str, letters: bool) -> Option<usize> {
    match asked.parse::<usize>() {
        Ok(number) => number.checked_sub(1),
        Err(_) if letters && (1..=3).contains(&asked.len()) && asked.bytes().all(|b| b.is_ascii_alphabetic()) => {
            let number = asked.bytes().fold(0, |sum, b| sum * 26 + usize::from(b.to_ascii_uppercase() - b'A') + 1);
            Some(number - 1)
        }
        Err(_) => None,
    }
}

fn same(cell: &str, asked: &str) -> bool {
    !asked.trim().is_empty() && cell.trim().to_lowercase() == asked.trim().to_lowercase()
}

fn by_request(name: &str, asked: &Asked<'_>, header: Option<&Record>, width: usize, letters: bool) -> Result<usize, Unclear> {
    let name = name.trim();
    let named: Vec<usize> =
        header.map(|header| (0..header.len()).filter(|at| same(header.get(*at), name)).collect()).unwrap_or_default();
    match named[..] {
        [only] => return Ok(only),
        [one, other, ..] => {
            return Err(Unclear {
                line: header.map(|header| header.line),
                why: format!("two columns are called `{name}`, number {} and number {}", one + 1, other + 1),
                help: if asked.in_rule {
                    format!("say which by its number: '{}'", one + 1)
                } else {
                    format!("say which by its number: `--column {}`", one + 1)
                },
            });
        }
        [] => {}
    }
    place_of(name, letters).filter(|column| *column < width).ok_or_else(|| Unclear {
        line: None,
        why: format!("there is no column `{name}`"),
        help: match header {
            Some(header) => {
                let names: Vec<_> = header.cells().take(8).map(|name| format!("`{}`", secret::masked(name.trim()))).collect();
                format!("its columns are {}; name one, or its number", names.join(", "))
            }
            None => format!("it has no header and columns 1 to {width}; say which by its number"),
        },
    })
}

fn by_name(header: &Record, alike: &[usize], rules: &Rules, asked: &Asked<'_>, letters: bool) -> Result<usize, Unclear> {
    let columns = |is_one: fn(&str) -> bool| (0..header.len()).filter(|at| is_one(header.get(*at))).collect::<Vec<_>>();
    let exact = columns(is_a_name);
    let named = if exact.is_empty() { columns(speaks_of_serials) } else { exact.clone() };
    let unclear = |why: &str, one: usize, other: usize| Unclear {
        line: Some(header.line),
        why: format!("{why}, {} and {}", label(Some(header), one, letters), label(Some(header), other, letters)),
        help: format!(
            "{}say which: {} or {}",
            if same(header.get(one), header.get(other)) { "if these are two lists, put one under the other; else " } else { "" },
            asked.words(Some(header), one, letters),
            asked.words(Some(header), other, letters)
        ),
    };
    // The owner's policy knows which is meant, if it takes those of one only.
    if let (true, true, [only]) = (rules.own, named.len() > 1, alike)
        && named.contains(only)
    {
        return Ok(*only);
    }
    match (&named[..], alike) {
        ([one, other, ..], _) => Err(unclear("two columns may hold the serial numbers", *one, *other)),
        // `S.No.` may count the rows, and a longer name may speak of something else.
        ([only], [other]) if only != other && (exact.is_empty() || word(header.get(*only)) == "sno") => {
            Err(unclear("one column is called so and another looks like serial numbers", *only, *other))
        }
        ([only], _) => Ok(*only),
        ([], _) => Ok(0),
    }
}

/// Do most rows have something in this column that the policy takes; or without a policy, each something else of one shape?
fn looks_like_serials(rows: &[Record], column: usize, rules: &Rules) -> bool {
    let texts: Vec<&str> = rows.iter().map(|row| row.get(column).trim()).filter(|text| !text.is_empty()).collect();
    if texts.len() < ROWS_MIN || texts.len() * 5 < rows.len() * 4 {
        return false;
    }
    if rules.own {
        return texts.iter().filter(|text| rules.check(text).is_ok()).count() * 2 >= texts.len();
    }
    let distinct = texts.iter().collect::<HashSet<_>>().len() == texts.len();
    distinct
        && texts.iter().filter(|text| matches!(damage::of(text), Some(Damage::Date | Damage::Decimal))).count() * 2 < texts.len()
        && shape::common(texts.iter().copied()).is_some_and(|shape| shape::digits(&shape) >= DIGITS_MIN && !shape.contains(' '))
}

/// `column 2 `S/N``, for a sentence.
fn label(header: Option<&Record>, column: usize, letters: bool) -> String {
    match header.map(|header| header.get(column).trim()).filter(|name| !name.is_empty()) {
        Some(name) => format!("{} `{}`", place(column, letters), secret::masked(name)),
        None => place(column, letters),
    }
}

/// `column 2`, or `column B` of a sheet.
pub(super) fn place(column: usize, letters: bool) -> String {
    if letters { format!("column {}", letters_of(column)) } else { format!("column {}", column + 1) }
}

/// `B`, `AA`.
pub(super) fn letters_of(column: usize) -> String {
    let (mut rest, mut letters) = (column + 1, Vec::new());
    while rest > 0 {
        rest -= 1;
        letters.push(b'A' + (rest % 26) as u8);
        rest /= 26;
    }
    letters.iter().rev().map(|letter| char::from(*letter)).collect()
}

/// A column's name if it has one that can be typed, else its place.
fn argument(header: Option<&Record>, column: usize, letters: bool) -> String {
    let only = |name: &str| header.is_some_and(|header| header.cells().filter(|other| same(other, name)).count() == 1);
    match header.map(|header| header.get(column).trim()).filter(|name| only(name)) {
        Some(name) if name.chars().all(|c| c.is_alphanumeric() || c == '_') => name.to_owned(),
        Some(name) if !name.contains('\'') && !name.contains(char::is_control) => format!("'{name}'"),
        _ if letters => letters_of(column),
        _ => (column + 1).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::record::Cell;

    fn records(text: &str) -> Vec<Record> {
        let row = |(at, line): (usize, &str)| {
            let mut record = Record::default();
            record.clear(at as u32 + 1);
            line.split(',').enumerate().for_each(|(column, cell)| record.put(column, Cell::Text, cell));
            record
        };
        text.lines().enumerate().map(row).collect()
    }

    fn column(text: &str, column: Option<&str>) -> Result<(usize, Option<u32>), String> {
        let layout = Layout::of(&records(text), &Asked { column, ..Asked::default() }, &Rules::none(), true);
        layout.map(|layout| (layout.column, layout.header)).map_err(|unclear| format!("{}; {}", unclear.why, unclear.help))
    }

    #[test]
    fn the_column_is_found_by_request_by_name_and_by_its_looks() {
        assert_eq!(column("serial\nA1", None), Ok((0, Some(1))));
        assert_eq!(column("id,S/N,colour\n1,A1,red", None), Ok((1, Some(1))));
        assert_eq!(column("Order 4711\n\nid,Serial Number\n1,A1", None), Ok((1, Some(3))));
        assert_eq!(column("Serial number of the device,x\nA1,", None), Ok((0, Some(1))));
        assert_eq!(column("A1,red\nA2,blue", None), Ok((0, None)));
        assert_eq!(column("no,label\n1,QD-0001\n2,QD-0002\n3,QD-0003", None), Ok((1, Some(1))));
        assert_eq!(column("a,b\n1,A1", Some("b")), Ok((1, Some(1))));
        assert_eq!(column("a,b\n1,A1", Some("2")), Ok((1, Some(1))));
        assert_eq!(column("a,b\n1,A1", Some("B")), Ok((1, Some(1))));
        assert_eq!(column("1,A1\n2,A2", Some("2")), Ok((1, None)));
        assert_eq!(column("id1,name2\n1,A1\n2,A2", Some("name2")), Ok((1, Some(1))));
        assert_eq!(column("1,B\n2,B", Some("B")), Ok((1, None)));
        assert_eq!(
            column("a,b\n1,A1", Some("c")),
            Err("there is no column `c`; its columns are `a`, `b`; name one, or its number".into())
        );
        assert_eq!(
            column("serial number,sn\n1,2", None),
            Err("two columns may hold the serial numbers, column A `serial number` and column B `sn`; say which: `--column 'serial number'` or `--column sn`".into())
        );
        assert_eq!(
            column("AB-0001,17001\nAB-0002,17005\nAB-0003,17009", None),
            Err("two columns look like serial numbers, column A (`AB-0001`, …) and column B (`17001`, …); say which with `--column A`".into())
        );
    }

    #[test]
    fn letters_are_those_of_a_sheet() {
        assert_eq!([0, 25, 26, 701, 702].map(letters_of), ["A", "Z", "AA", "ZZ", "AAA"]);
    }
}
