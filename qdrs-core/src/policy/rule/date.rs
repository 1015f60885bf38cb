//! `date`: a part that says when the device was made, as a date or a week, in full or by codes of one character.
//!
//! The one rule that looks at the clock, and only for `to = "today"`.

use std::{fmt, ops::RangeInclusive};

use jiff::{
    Timestamp,
    civil::{Date, ISOWeekDate, Weekday},
    tz::Offset,
};
use serde::{Deserialize, Deserializer, de};

use crate::policy::text::{Table, text};

/// `to = "today"`.
const TODAY: &str = "today";

/// `date`: the text is a date of that form, and lies within `from` and `to`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub(in crate::policy) struct Code {
    form: Vec<Token>,
    written: Written,
    /// What day it is.
    today: fn() -> Date,
}

/// The date where the day begins first, 14 hours before UTC: a line in any time zone may make what bears its own date. Since
/// it only grows, what was right stays right.
fn today_anywhere() -> Date {
    Offset::constant(14).to_datetime(Timestamp::now()).date()
}

#[derive(Debug, Clone, Deserialize)]
struct Written {
    /// As `YYMMDD`, `YYWW`, `YDDD`, `YM`.
    form: String,
    #[serde(default, deserialize_with = "date")]
    from: Option<Date>,
    to: Option<End>,
    /// The first year that a year of one or two characters may mean.
    first_year: Option<i16>,
    /// The characters for a year (`Y`), the first of them for `first_year`.
    #[serde(default = "default_years")]
    years: String,
    /// The twelve characters for a month (`M`).
    #[serde(default = "default_months")]
    months: String,
}

/// The years that `first_year` may be, so that no year has more than four digits.
const FIRST_YEARS: RangeInclusive<i16> = 1..=9800;

impl Written {
    /// The years that the form can say; none where it says them in full.
    fn years(&self, form: &[Token]) -> Option<RangeInclusive<i16>> {
        let first = self.first_year.unwrap_or(2000);
        let count = form.iter().find_map(|token| match token {
            Token::Year(2) => Some(100),
            Token::Year(1) => i16::try_from(self.years.chars().count()).ok(),
            _ => None,
        })?;
        Some(first..=first.saturating_add(count - 1))
    }
}

fn default_years() -> String {
    "0123456789".to_owned()
}

fn default_months() -> String {
    "123456789OND".to_owned()
}

/// A TOML date, or one in quotes.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    day(&toml::Value::deserialize(deserializer)?).map(Some).map_err(|why| de::Error::custom(format!("{why} as 2024-01-31")))
}

fn day(value: &toml::Value) -> Result<Date, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().map_err(|_| format!("`{text}` is no date; write it"))
}

/// As it is written: without quotes where TOML takes it so.
fn day_in_toml(day: Date) -> String {
    let day = day.to_string();
    if day.parse::<toml::value::Datetime>().is_ok() { day } else { text(&day) }
}

/// The last day that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Day(Date),
    /// Whichever day it is: what is still to come is refused.
    Today,
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        if value.as_str() == Some(TODAY) {
            return Ok(Self::Today);
        }
        day(&value).map(Self::Day).map_err(|why| de::Error::custom(format!("{why} as 2024-01-31, or as \"{TODAY}\"")))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => day.fmt(f),
            Self::Today => f.write_str(TODAY),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// Of four digits, two, or one character of `years`.
    Year(u8),
    /// Of two digits, or one character of `months`.
    Month(u8),
    Day,
    DayOfYear,
    Week,
    /// 1 is Monday.
    Weekday,
    Literal(u8),
}

impl Token {
    fn characters(self) -> usize {
        match self {
            Self::Year(count) | Self::Month(count) => usize::from(count),
            Self::Day | Self::Week => 2,
            Self::DayOfYear => 3,
            Self::Weekday | Self::Literal(_) => 1,
        }
    }
}

impl TryFrom<Written> for Code {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mut form = Vec::new();
        for run in written.form.as_bytes().chunk_by(|a, b| a == b && a.is_ascii_uppercase()) {
            form.push(match run {
                b"YYYY" => Token::Year(4),
                b"YY" => Token::Year(2),
                b"Y" => Token::Year(1),
                b"MM" => Token::Month(2),
                b"M" => Token::Month(1),
                b"DD" => Token::Day,
                b"DDD" => Token::DayOfYear,
                b"WW" => Token::Week,
                b"E" => Token::Weekday,
                [other] if !other.is_ascii_uppercase() && other.is_ascii_graphic() => Token::Literal(*other),
                other => {
                    return Err(format!(
                        "`{}` in `form` is no part of a date; known are YYYY, YY, Y, MM, M, DD, DDD (day of the year), WW (ISO week), E (weekday)",
                        String::from_utf8_lossy(other)
                    ));
                }
            });
        }
        let has = |wanted: &[Token]| wanted.iter().all(|token| form.contains(token));
        let count = form.iter().filter(|token| !matches!(token, Token::Literal(_))).count();
        let month = form.iter().any(|token| matches!(token, Token::Month(_)));
        let years = form.iter().filter(|token| matches!(token, Token::Year(_))).count();
        let fit = match count {
            1 => true,
            2 => month || has(&[Token::DayOfYear]) || has(&[Token::Week]),
            3 => (month && has(&[Token::Day])) || has(&[Token::Week, Token::Weekday]),
            _ => false,
        };
        if years != 1 || !fit {
            return Err(format!(
                "`form = \"{}\"` makes no date: it is a year, and then a month, month and day, day of the year, week, or week and weekday",
                written.form
            ));
        }
        let distinct = |text: &str| text.chars().collect::<std::collections::BTreeSet<_>>().len() == text.len();
        if written.months.len() != 12 || !distinct(&written.months) {
            return Err(format!("`months = \"{}\"` is not twelve characters, one for each month", written.months));
        }
        if written.years.is_empty() || !distinct(&written.years) {
            return Err(format!("`years = \"{}\"` has a character twice, or none", written.years));
        }
        if form.contains(&Token::Year(1)) && written.first_year.is_none() {
            return Err(
                "a year of one character needs `first_year`, as 2020: the year that the first character stands for".to_owned()
            );
        }
        if let Some(first) = written.first_year.filter(|first| !FIRST_YEARS.contains(first)) {
            return Err(format!("`first_year = {first}` is not from {} to {}", FIRST_YEARS.start(), FIRST_YEARS.end()));
        }
        if let (Some(years), Some(from)) = (written.years(&form), written.from)
            && !years.contains(&from.year())
        {
            return Err(format!(
                "`from` is {from}, but `form` and `first_year` leave the years from {} to {} only",
                years.start(),
                years.end()
            ));
        }
        // A policy may be written before its first day has come: against today nothing is said.
        if let (Some(from), Some(End::Day(to))) = (written.from, written.to)
            && from > to
        {
            return Err("`from` is later than `to`, so no date is right".to_owned());
        }
        Ok(Self { form, written, today: today_anywhere })
    }
}

impl Code {
    pub(super) const KEYS: &[&str] = &["form", "from", "to", "first_year", "years", "months"];

    pub(super) fn print(&self, table: &mut Table) {
        let Self { form: _, written: Written { form, from, to, first_year, years, months }, today: _ } = self;
        table.put("form", text(form));
        table.put_some("from", from.map(day_in_toml));
        table.put_some(
            "to",
            to.map(|to| match to {
                End::Day(day) => day_in_toml(day),
                End::Today => text(TODAY),
            }),
        );
        table.put_some("first_year", *first_year);
        table.put_some("years", (*years != default_years()).then(|| text(years)));
        table.put_some("months", (*months != default_months()).then(|| text(months)));
    }

    pub(super) fn check(&self, what: &str, text: &str) -> Result<(), String> {
        let (first, last) = self.days(text).map_err(|fault| format!("{what} is `{text}`: {fault}"))?;
        let too_late = match self.written.to {
            None => false,
            Some(End::Day(to)) => first > to,
            // A week, month or year has come when its first day has.
            Some(End::Today) => first > (self.today)(),
        };
        if too_late || self.written.from.is_some_and(|from| last < from) {
            return Err(format!(
                "{what} is `{text}`, which is {first}{}",
                if first == last { String::new() } else { format!(" to {last}") }
            ));
        }
        Ok(())
    }

    /// How many characters a date has.
    pub(super) fn characters(&self) -> usize {
        self.form.iter().map(|token| token.characters()).sum()
    }

    /// Is there a day in both?
    pub(in crate::policy) fn meets(&self, other: &Self) -> bool {
        let before = |from: Option<Date>, to: Option<End>| match (from, to) {
            (Some(from), Some(End::Day(to))) => from <= to,
            _ => true,
        };
        before(self.written.from, other.written.to) && before(other.written.from, self.written.to)
    }

    /// The first and the last day that the text means.
    fn days(&self, text: &str) -> Result<(Date, Date), String> {
        let length = self.characters();
        if text.len() != length || !text.is_ascii() {
            return Err(format!("it should have {length} characters, as `{}`", self.written.form));
        }
        let (mut year, mut month, mut day, mut day_of_year, mut week, mut weekday) = (0, None, None, None, None, None);
        let mut rest = text;
        for token in &self.form {
            let (piece, after) = rest.split_at(token.characters());
            rest = after;
            let number = || {
                let digits = piece.bytes().all(|byte| byte.is_ascii_digit());
                piece.parse::<i16>().ok().filter(|_| digits).ok_or_else(|| format!("`{piece}` is no number"))
            };
            match token {
                Token::Year(4) => year = number()?,
                Token::Year(2) => {
                    let first = self.written.first_year.unwrap_or(2000);
                    year = first + (number()? - first % 100).rem_euclid(100);
                }
                Token::Year(_) => {
                    let (years, first) = (&self.written.years, self.written.first_year.unwrap_or(2000));
                    let at =
                        years.find(piece).ok_or_else(|| format!("`{piece}` is no year; years are `{years}`, from {first} on"))?;
                    // Ten digits are those of the year itself, whichever comes first.
                    let at = i16::try_from(at).unwrap_or(0);
                    year = if *years == default_years() { first + (at - first % 10).rem_euclid(10) } else { first + at };
                }
                Token::Month(2) => month = Some(number()?),
                Token::Month(_) => {
                    let at = self.written.months.find(piece);
                    month = Some(
                        at.and_then(|at| i16::try_from(at + 1).ok())
                            .ok_or_else(|| format!("`{piece}` is no month; months are `{}`", self.written.months))?,
                    );
                }
                Token::Day => day = Some(number()?),
                Token::DayOfYear => day_of_year = Some(number()?),
                Token::Week => week = Some(number()?),
                Token::Weekday => weekday = Some(number()?),
                Token::Literal(wanted) if piece.as_bytes() == [*wanted] => {}
                Token::Literal(wanted) => return Err(format!("`{piece}` should be `{}`", char::from(*wanted))),
            }
        }
        let new_year = Date::new(year, 1, 1).map_err(|_| format!("{year} is no year"))?;
        let small = |number: i16| i8::try_from(number).unwrap_or(0);
        if let Some(number) = day_of_year {
            if number < 1 || number > new_year.days_in_year() {
                return Err(format!("{year} has no day {number}"));
            }
            let date = new_year.saturating_add(jiff::Span::new().days(i64::from(number) - 1));
            return Ok((date, date));
        }
        if let Some(number) = week {
            let on = |weekday| {
                ISOWeekDate::new(year, small(number), weekday)
                    .map(ISOWeekDate::date)
                    .map_err(|_| format!("{year} has no week {number}"))
            };
            return match weekday {
                None => Ok((on(Weekday::Monday)?, on(Weekday::Sunday)?)),
                Some(number) => {
                    let weekday = Weekday::from_monday_one_offset(small(number))
                        .map_err(|_| format!("`{number}` is no weekday; 1 is Monday, 7 is Sunday"))?;
                    on(weekday).map(|date| (date, date))
                }
            };
        }
        let Some(number) = month else { return Ok((new_year, new_year.last_of_year())) };
        let first = Date::new(year, small(number), 1).map_err(|_| format!("`{number:02}` is no month"))?;
        let Some(number) = day else { return Ok((first, first.last_of_month())) };
        let date = Date::new(year, first.month(), small(number));
        date.map(|date| (date, date)).map_err(|_| format!("the month {} has no day {number:02}", first.strftime("%Y-%m")))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "be a date as `{}`", self.written.form)?;
        match (self.written.from, self.written.to) {
            (Some(from), Some(to)) => write!(f, " from {from} to {to}"),
            (Some(from), None) => write!(f, ", {from} or later"),
            (None, Some(to)) => write!(f, ", {to} or earlier"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// A rule without a date in the future, on a Tuesday: the second day of week 48.
    fn on_the_24th_of_november_2026(toml: &str) -> Code {
        let code: Code = toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"));
        Code { today: || date(2026, 11, 24), ..code }
    }

    #[test]
    fn what_is_still_to_come_is_refused() {
        for (form, more, good, bad) in [
            ("YYMMDD", "", ["261124", "261101"], ["261125", "271101"]),
            ("YYYYDDD", "", ["2026328", "2025365"], ["2026329", "2027001"]),
            ("YYWW", "", ["2648", "2547"], ["2649", "2701"]),
            ("YYWWE", "", ["26482", "26477"], ["26483", "26491"]),
            ("YYMM", "", ["2611", "2512"], ["2612", "2701"]),
            ("YYYY", "", ["2026", "2025"], ["2027", "2099"]),
            // 7 is the one of 2027, and 9 of 2029, though there were others before.
            ("Y", "first_year = 2020", ["6", "0"], ["7", "9"]),
            ("YM", "first_year = 2021", ["6N", "1D"], ["6D", "0O"]),
        ] {
            let code = on_the_24th_of_november_2026(&format!("form = \"{form}\"\nto = \"today\"\n{more}"));
            for text in good {
                assert_eq!(code.check("it", text), Ok(()), "{form}");
            }
            for text in bad {
                assert!(code.check("it", text).is_err(), "{form} {text}");
            }
        }
    }

    #[test]
    fn both_ends_are_said() {
        let code = on_the_24th_of_november_2026("form = \"YYWW\"\nfrom = 2026-11-02\nto = \"today\"");
        assert_eq!(code.check("it", "2649"), Err("it is `2649`, which is 2026-11-30 to 2026-12-06".to_owned()));
        assert!(code.check("it", "2644").is_err() && code.check("it", "2645").is_ok());
        assert_eq!(code.to_string(), "be a date as `YYWW` from 2026-11-02 to today");
        // Written before its first day.
        let early = on_the_24th_of_november_2026("form = \"YYWW\"\nfrom = 2027-01-01\nto = \"today\"");
        assert!(early.check("it", "2648").is_err() && early.check("it", "2701").is_err());
        for soon in ["\"tomorrow\"", "\"Today\"", "7"] {
            let error = toml::from_str::<Code>(&format!("form = \"YYWW\"\nto = {soon}")).expect_err("is no date");
            assert!(error.message().contains("write it as 2024-01-31, or as \"today\""), "{error}");
        }
    }

    #[test]
    fn today_begins_where_it_begins_first() {
        let (before, today, after) = (Timestamp::now(), today_anywhere(), Timestamp::now());
        let at = |now: Timestamp| Offset::constant(14).to_datetime(now).date();
        assert!((at(before)..=at(after)).contains(&today));
        assert!(today >= Offset::UTC.to_datetime(after).date());
    }
}
