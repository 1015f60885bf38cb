//! Events in words: one line for each, the same on a terminal, in a log and on a snapshot.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use qdrs_core::serial::is_unprintable;

use super::event::{Ending, Event, Fault, Step, Summary, Verdict};

/// The longest text of foreign origin that is shown in a line, in characters.
const TEXT_CHARS_MAX: usize = 400;

/// How a verdict looks: a block of colour that one sees from two metres.
pub(super) fn block(verdict: Verdict) -> Style {
    let on = |colour: AnsiColor| Style::new().bold().fg_color(Some(AnsiColor::Black.into())).bg_color(Some(colour.into()));
    match verdict {
        Verdict::Pass => on(AnsiColor::BrightGreen),
        Verdict::Written => on(AnsiColor::BrightYellow),
        Verdict::Fail => Style::new().bold().fg_color(Some(AnsiColor::BrightWhite.into())).bg_color(Some(AnsiColor::Red.into())),
        Verdict::Elsewhere | Verdict::DoneBefore => Style::new().dimmed(),
    }
}

/// Text of foreign origin (a CSV, a device, an answer): no control characters, no endless lines.
pub(super) fn clean(text: &str) -> String {
    let mut clean: String = text.chars().take(TEXT_CHARS_MAX).map(|c| if is_unprintable(c) { ' ' } else { c }).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        clean.push('…');
    }
    clean
}

/// A duration for people.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 100.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{} min", (seconds / 60.0).round())
    }
}

/// The big line of an ending: `PASS  slot 2  QD-0041713`; `colour` wraps it in its block.
pub(super) fn big_line(ending: &Ending, colour: bool) -> String {
    let mut big = ending.verdict.word().to_owned();
    if let Some(slot) = ending.slot {
        let _ = write!(big, "  slot {slot}");
    }
    let _ = write!(big, "  {}", clean(&ending.serial));
    if colour {
        let style = block(ending.verdict);
        big = format!("{style} {big} {style:#}");
    }
    big
}

/// What stands behind the big line.
fn small_print(ending: &Ending) -> String {
    let mut parts = Vec::new();
    if ending.verdict == Verdict::Elsewhere {
        let who = [
            ending.station.as_deref().map(clean),
            ending.since.map(|time| format!("since {}", time.strftime("%Y-%m-%d %H:%MZ"))),
        ];
        let who: Vec<String> = who.into_iter().flatten().collect();
        let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
        return format!("  registered by another station{who}");
    }
    if let Some(evidence) = ending.evidence {
        parts.push(evidence.to_string());
    }
    if let Some(time) = ending.seconds {
        parts.push(seconds(time));
    }
    if parts.is_empty() { String::new() } else { format!("  ({})", parts.join(", ")) }
}

/// Where a slot stands; `why` is what is wrong, or what a person does.
pub(super) fn slot_line(slot: usize, step: Step, serial: Option<&str>, why: Option<&str>) -> String {
    let serial = serial.map_or(String::new(), |serial| format!("{}: ", clean(serial)));
    let why = why.map_or(String::new(), |why| format!(": {}", clean(why)));
    format!("slot {slot}: {serial}{}{why}", step.text())
}

/// A fault in two lines, indented.
fn fault_lines(fault: &Fault, indent: &str) -> String {
    let help = clean(&fault.help);
    let mut lines = format!("{indent}{} ({})", clean(&fault.message), clean(&fault.code));
    if !help.is_empty() {
        let _ = write!(lines, "\n{indent}help: {help}");
    }
    lines
}

/// The lines of an event; none when only a terminal shows it.
///
/// `verbose` shows every step of every slot; `quiet` only what went wrong and the summary.
pub(super) fn lines(event: &Event, colour: bool, verbose: bool, quiet: bool) -> Option<String> {
    match event {
        Event::Start { station, batch, serials, done_before, written_before, slots } => (!quiet).then(|| {
            let name = batch.as_deref().map_or(String::new(), |batch| format!("batch {}, ", clean(batch)));
            let mut line = format!("station {}: {name}{}", clean(station), count(*serials, "serial"));
            if *done_before > 0 {
                let _ = write!(line, ", {done_before} done before");
            }
            if *written_before > 0 {
                let _ = write!(line, ", {written_before} to confirm");
            }
            let _ = write!(line, ", {}", count(slots.len(), "slot"));
            line
        }),
        Event::Slot { slot, fault: Some(fault), step, .. } => {
            let out = if *step == Step::Out { "not in use: " } else { "" };
            Some(format!("slot {slot}: {out}{}", fault_lines(fault, "").replace("\nhelp:", "\n  help:")))
        }
        Event::Slot { slot, step, serial, hint, .. } => {
            (verbose && !quiet).then(|| slot_line(*slot, *step, serial.as_deref(), hint.as_deref()))
        }
        Event::Wait { why, seconds: time } => (!quiet).then(|| format!("waiting {}: {}", seconds(*time), clean(why))),
        Event::Notice { slot, text } => (!quiet).then(|| match slot {
            Some(slot) => format!("slot {slot}: {}", clean(text)),
            None => clean(text),
        }),
        Event::Retry(ending) => {
            let slot = ending.slot.map_or(String::new(), |slot| format!("slot {slot}  "));
            let mut line = format!("AGAIN  {slot}{}  (is tried again)", clean(&ending.serial));
            if let Some(fault) = &ending.fault {
                let _ = write!(line, "\n{}", fault_lines(fault, "    "));
            }
            Some(line)
        }
        Event::Result(ending) => {
            if quiet && !matches!(ending.verdict, Verdict::Fail | Verdict::Written)
                || (!verbose && ending.verdict == Verdict::DoneBefore)
            {
                return None;
            }
            let mut line = big_line(ending, colour);
            line.push_str(&small_print(ending));
            if let Some(fault) = &ending.fault {
                let _ = write!(line, "\n{}", fault_lines(fault, "    "));
            }
            Some(line)
        }
        // The plan is what was asked for: it goes to standard output.
        Event::Plan { .. } => None,
        Event::Summary(summary) => Some(summary_lines(summary, colour, quiet)),
    }
}

/// A line of a dry run, for standard output.
pub(super) fn plan_line(event: &Event) -> Option<String> {
    let Event::Plan { serial, intent, state, station, fault } = event else { return None };
    let mut line = format!("{}  {}", clean(serial), intent.text());
    let mut parts = Vec::new();
    if let Some(state) = state {
        parts.push(state.to_string());
    }
    if let Some(station) = station {
        parts.push(format!("at {}", clean(station)));
    }
    if !parts.is_empty() {
        let _ = write!(line, " ({})", parts.join(" "));
    }
    if let Some(fault) = fault {
        let _ = write!(line, "\n{}", fault_lines(fault, "    "));
    }
    Some(line)
}

/// `1 serial`, `2 serials`.
fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The end of a run, for a line operator.
fn summary_lines(summary: &Summary, colour: bool, quiet: bool) -> String {
    let mut text = String::new();
    if !quiet {
        text.push('\n');
    }
    let done = summary.pass + summary.done_before;
    let verb = if summary.interrupted {
        "Interrupted"
    } else if summary.stopped.is_some() {
        "Stopped"
    } else {
        "Finished"
    };
    let _ = writeln!(text, "{verb} after {}: {done} of {} done", seconds(summary.seconds), count(summary.serials, "serial"));
    let rows = [
        (Some(Verdict::Pass), "PASS", summary.pass, "made and confirmed"),
        (Some(Verdict::Written), "WRITTEN", summary.written, "on the device, not confirmed yet"),
        (Some(Verdict::Fail), "FAIL", summary.fail, "not made"),
        (None, "elsewhere", summary.elsewhere, "another station has them"),
        (None, "done before", summary.done_before, "made in an earlier run"),
        (None, "left", summary.left, "not reached"),
        (None, "left out", summary.left_out, "rows of the batch that can't be used"),
    ];
    for (verdict, word, number, meaning) in rows {
        if number == 0 && verdict != Some(Verdict::Pass) {
            continue;
        }
        let word = match verdict {
            Some(verdict) if colour && number > 0 => {
                let style = block(verdict);
                format!("{style}{word:<11}{style:#}")
            }
            _ => format!("{word:<11}"),
        };
        let _ = writeln!(text, "  {word} {number:>6}  {meaning}");
    }
    if !summary.failures.is_empty() {
        text.push('\n');
        for ending in &summary.failures {
            let slot = ending.slot.map_or(String::new(), |slot| format!("  slot {slot}"));
            let _ = writeln!(text, "{}  {}{slot}", ending.verdict.word(), clean(&ending.serial));
            if let Some(fault) = &ending.fault {
                let _ = writeln!(text, "{}", fault_lines(fault, "    "));
            }
        }
    }
    if let Some(fault) = &summary.stopped {
        let _ = writeln!(text, "\nerror: {}", fault_lines(fault, "").replace("\nhelp:", "\n help:"));
    }
    if let Some(next) = &summary.next {
        let _ = writeln!(text, "\n{}", clean(next));
    }
    text.truncate(text.trim_end().len());
    text
}
