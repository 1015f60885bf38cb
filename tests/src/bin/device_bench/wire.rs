//! What crossed the wire in one visit: how long, how many bytes, how many turns.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use qdrs_tests::{Crossing, Line};
use serde::Serialize;

use crate::site::BAUD;

/// How long the last bytes of a visit may take.
const LAST_MAX: Duration = Duration::from_secs(2);

/// Texts in what the host sends that tell where a visit stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    /// In the first piece that serves the write.
    pub(crate) write: &'static [u8],
    /// In what the tool leaves the board with.
    pub(crate) leave: &'static [u8],
}

/// One visit, as the line saw it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Wire {
    /// From the first bit that serves the write to the last bit of the answer that verifies it.
    pub(crate) verified_ms: f64,
    /// The same from the first bit of the piece with the credential, for a tool that sends it by itself and not in a file.
    pub(crate) credential_ms: Option<f64>,
    /// From the first bit to the last that the host sent.
    pub(crate) visit_ms: f64,
    pub(crate) to_device: u64,
    pub(crate) to_host: u64,
    /// How often the host spoke after the device had.
    pub(crate) turns: u64,
}

impl Wire {
    /// Of a visit that is over; what it left on the line may still cross.
    pub(crate) fn of(line: &Line, marks: Marks, credential: Option<&[u8]>) -> Result<Self> {
        let (begun, mut record) = (Instant::now(), line.record());
        while Sent::of(&record).rfind(marks.leave).is_none() && begun.elapsed() < LAST_MAX {
            std::thread::sleep(Duration::from_millis(1));
            record = line.record();
        }
        let sent = Sent::of(&record);
        let left = sent.rfind(marks.leave).context("the tool left the board")?;
        let left_at = sent.time(sent.piece(left));
        let answers = record.iter().filter(|crossing| !crossing.to_device && crossing.ended <= left_at);
        let verified = answers.map(|crossing| crossing.ended).max().context("the board answered")?;
        let since = |at: usize| ms(verified.saturating_duration_since(sent.time(sent.piece(at))));
        let first = record.iter().find(|crossing| crossing.to_device).context("the tool said something")?;
        let last = record.iter().rfind(|crossing| crossing.to_device).context("the tool said something")?;
        ensure!(line.lost() == 0, "the board was sent more than it can hold");
        Ok(Self {
            verified_ms: since(sent.find(marks.write).context("the tool wrote")?),
            credential_ms: credential.and_then(|text| sent.find(text)).map(since),
            visit_ms: ms(last.ended.duration_since(first.began)),
            to_device: line.to_device(),
            to_host: line.to_host(),
            turns: line.turns(),
        })
    }
}

/// All that the host sent, as one text.
struct Sent<'a> {
    crossings: Vec<&'a Crossing>,
    bytes: Vec<u8>,
}

impl<'a> Sent<'a> {
    fn of(record: &'a [Crossing]) -> Self {
        let crossings: Vec<&Crossing> = record.iter().filter(|crossing| crossing.to_device).collect();
        let bytes = crossings.iter().flat_map(|crossing| crossing.bytes.iter().copied()).collect();
        Self { crossings, bytes }
    }

    fn find(&self, text: &[u8]) -> Option<usize> {
        self.bytes.windows(text.len()).position(|window| window == text)
    }

    fn rfind(&self, text: &[u8]) -> Option<usize> {
        self.bytes.windows(text.len()).rposition(|window| window == text)
    }

    /// Where the piece begins that has this byte: after the last control byte that is none of Python's.
    fn piece(&self, at: usize) -> usize {
        self.bytes[..at].iter().rposition(|byte| (1..=5).contains(byte)).map_or(0, |control| control + 1)
    }

    /// When the first bit of this byte went out.
    fn time(&self, at: usize) -> Instant {
        let mut before = 0;
        for crossing in &self.crossings {
            if at < before + crossing.bytes.len() {
                let bits = 10 * (at - before) as u32;
                return crossing.began + Duration::from_secs(1) * bits / BAUD;
            }
            before += crossing.bytes.len();
        }
        self.crossings.last().map_or_else(Instant::now, |crossing| crossing.ended)
    }
}

/// Tells of each turn: when it began, who spoke, how many bytes, until when. What was said stays untold.
pub(crate) fn tell_turns(who: &str, record: &[Crossing]) -> io::Result<()> {
    let mut err = io::stderr().lock();
    writeln!(err, "{who}:")?;
    let Some(begin) = record.first().map(|crossing| crossing.began) else { return Ok(()) };
    for turn in record.chunk_by(|one, next| one.to_device == next.to_device) {
        let (Some(first), Some(last)) = (turn.first(), turn.last()) else { continue };
        let bytes: usize = turn.iter().map(|crossing| crossing.bytes.len()).sum();
        let whose = if first.to_device { "host  " } else { "device" };
        let (from, to) = (ms(first.began.saturating_duration_since(begin)), ms(last.ended.saturating_duration_since(begin)));
        writeln!(err, "{from:8.1} to {to:8.1} ms  {whose} {bytes:4} bytes")?;
    }
    Ok(())
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_begins_after_the_control_byte_before_it_and_has_the_time_of_its_first_bit() {
        let began = Instant::now();
        let crossing = |at_ms, bytes: &[u8]| Crossing {
            to_device: true,
            began: began + Duration::from_millis(at_ms),
            ended: began + Duration::from_millis(at_ms + 3),
            bytes: bytes.to_vec(),
        };
        let record = [crossing(0, b"\x01\r\n"), crossing(50, b"x\x04import os\nf=op"), crossing(60, b"en('a')\x04\x02")];
        let sent = Sent::of(&record);
        let write = sent.find(b"f=open('").expect("is there");
        assert_eq!(sent.piece(write), 5, "after the first `\\x04`");
        // Two bytes of ten bits after the start.
        let late = sent.time(sent.piece(write)).duration_since(record[1].began);
        assert!((173..=174).contains(&late.as_micros()), "{late:?}");
        assert_eq!(sent.time(sent.rfind(b"\x02").expect("is there")).duration_since(record[2].began).as_micros(), 694);
        assert!(sent.find(b"nothing").is_none());
    }
}
