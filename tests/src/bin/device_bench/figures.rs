//! The figures: what was measured, as tables for people and as JSON.

use std::fmt::Write as _;

use jiff::Timestamp;
use qdrs_tests::table::{median, number, push, sorted};
use serde::Serialize;

use crate::{batch::Batch, site::BAUD, wire::Wire};

/// One visit.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    pub(crate) wire: Wire,
    /// From the start of the program to its end; of the driver from open to finish.
    pub(crate) command_ms: f64,
    /// CPU time of the program.
    pub(crate) cpu_ms: f64,
}

/// One line of the table: all visits of one tool.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    who: &'static str,
    lacks: &'static str,
    visits: Vec<Sample>,
    /// What the program takes to start and do nothing, visit by visit.
    starts_ms: Vec<f64>,
}

impl Row {
    pub(crate) fn new(who: &'static str, lacks: &'static str) -> Self {
        Self { who, lacks, visits: Vec::new(), starts_ms: Vec::new() }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.visits.push(sample);
    }

    pub(crate) fn add_start(&mut self, ms: f64) {
        self.starts_ms.push(ms);
    }

    fn all(&self, what: fn(&Sample) -> f64) -> Vec<f64> {
        sorted(&self.visits.iter().map(what).collect::<Vec<_>>())
    }
}

/// What no way can do without: the three values there and, as proof, back, in the raw REPL's framing.
#[derive(Debug, Serialize)]
struct Floor {
    to_device: usize,
    to_host: usize,
    turns: usize,
    verified_ms: f64,
    visit_ms: f64,
}

impl Floor {
    /// Of a credential with so many bytes of values.
    fn of(values: usize) -> Self {
        // `\x01` and its banner; the values and `\x04`; `OK`, the values, `\x04\x04>`.
        let (enter, banner, write, answer) = (1, 29, values + 1, 2 + values + 3);
        let ms = |bytes: usize| bytes as f64 * 10.0 * 1e3 / f64::from(BAUD);
        Self {
            to_device: enter + write,
            to_host: banner + answer,
            turns: 2,
            verified_ms: ms(write + answer),
            visit_ms: ms(enter + banner + write + answer),
        }
    }
}

/// Everything that a run has found.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    version: u32,
    at: Timestamp,
    machine: String,
    floor: Floor,
    rows: Vec<Row>,
    batches: Vec<Batch>,
}

impl Figures {
    pub(crate) fn new(machine: String, rows: Vec<Row>, batches: Vec<Batch>) -> Self {
        Self { version: 1, at: Timestamp::now(), machine, floor: Floor::of(crate::tools::VALUES_BYTES), rows, batches }
    }

    /// For people: Markdown, so that it can be kept as it is.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.at.strftime("%Y-%m-%d %H:%M UTC"), self.machine);
        let head = [
            "one device",
            "write to verified: min ms",
            "median ms",
            "max ms",
            "credential to verified ms",
            "visit ms",
            "command ms",
            "program's start ms",
            "CPU ms",
            "bytes to device",
            "bytes to host",
            "turns",
        ];
        let floor = &self.floor;
        let mut rows = vec![vec![
            "floor".to_owned(),
            number(Some(floor.verified_ms), 1),
            number(Some(floor.verified_ms), 1),
            number(Some(floor.verified_ms), 1),
            number(Some(floor.verified_ms), 1),
            number(Some(floor.visit_ms), 1),
            number(None, 0),
            number(None, 0),
            number(None, 0),
            floor.to_device.to_string(),
            floor.to_host.to_string(),
            floor.turns.to_string(),
        ]];
        rows.extend(self.rows.iter().map(|row| {
            let verified = row.all(|sample| sample.wire.verified_ms);
            let credential: Option<Vec<f64>> = row.visits.iter().map(|sample| sample.wire.credential_ms).collect();
            let middle = |what| median(&row.all(what));
            vec![
                row.who.to_owned(),
                number(verified.first().copied(), 1),
                number(median(&verified), 1),
                number(verified.last().copied(), 1),
                number(credential.and_then(|all| median(&all)), 1),
                number(middle(|sample| sample.wire.visit_ms), 1),
                number(middle(|sample| sample.command_ms), 1),
                number(median(&row.starts_ms), 1),
                number(middle(|sample| sample.cpu_ms), 1),
                number(middle(|sample| sample.wire.to_device as f64), 0),
                number(middle(|sample| sample.wire.to_host as f64), 0),
                number(middle(|sample| sample.wire.turns as f64), 0),
            ]
        }));
        push(&mut text, &head.map(str::to_owned), rows);
        text.push('\n');
        for row in self.rows.iter().filter(|row| !row.lacks.is_empty()) {
            let _ = writeln!(text, "{} does less: {}.", row.who, row.lacks);
        }
        text.push('\n');
        let head = [
            "qdrs provision, slots",
            "devices",
            "seconds",
            "devices a minute",
            "seconds a device in its slot",
            "qdrs CPU ms",
            "service CPU ms",
            "boards CPU ms",
            "hub and lines CPU ms",
        ];
        let rows = self.batches.iter().map(|batch| {
            let each = batch.seconds / batch.devices as f64;
            let mut cells = vec![batch.slots.to_string(), batch.devices.to_string()];
            cells.extend([
                number(Some(batch.seconds), 1),
                number(Some(60.0 / each), 0),
                number(Some(each * batch.slots as f64), 2),
                number(Some(batch.station_cpu_ms), 1),
                number(Some(batch.service_cpu_ms), 1),
                number(Some(batch.boards_cpu_ms), 1),
                number(Some(batch.bench_cpu_ms), 1),
            ]);
            cells
        });
        push(&mut text, &head.map(str::to_owned), rows.collect());
        text
    }
}
