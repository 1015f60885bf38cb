//! The figures: what was measured, as a table for people and as JSON.

use std::fmt::Write as _;

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use qdrs_tests::table::{median, number, push, sorted};
use serde::Serialize;

use crate::{callers::Work, primitives::Primitives};

/// Whose rows are whose.
pub(crate) const QDRS: &str = "QDRS";
pub(crate) const VENDOR: &str = "vendor's SDK";

/// One line of the table: a way to make devices, over all its turns.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) who: &'static str,
    what: &'static str,
    /// Callers or threads at once.
    callers: usize,
    /// What the ledger lies on.
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<String>,
    /// Devices a second, turn by turn.
    devices_per_second: Vec<f64>,
    /// CPU microseconds a device, turn by turn: of the service, of the emulator, of who calls.
    service_cpu_us: Vec<f64>,
    hub_cpu_us: Vec<f64>,
    caller_cpu_us: Vec<f64>,
    /// How long a device took its caller: median and 99th percentile over all turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<[f64; 2]>,
    #[serde(skip)]
    latencies: Vec<Duration>,
    #[serde(skip)]
    last_turn: usize,
    #[serde(skip)]
    devices: usize,
}

impl Row {
    pub(crate) fn new(who: &'static str, what: &'static str, callers: usize, ledger: Option<&str>) -> Self {
        Self {
            who,
            what,
            callers,
            ledger: ledger.map(str::to_owned),
            devices_per_second: Vec::new(),
            service_cpu_us: Vec::new(),
            hub_cpu_us: Vec::new(),
            caller_cpu_us: Vec::new(),
            latency_ms: None,
            latencies: Vec::new(),
            last_turn: 0,
            devices: 0,
        }
    }

    /// One turn: so many devices in so many seconds, at so much CPU of who called.
    pub(crate) fn add(&mut self, devices: usize, seconds: f64, caller_cpu_seconds: f64) {
        self.last_turn = devices;
        self.devices += devices;
        self.devices_per_second.push(devices as f64 / seconds);
        self.caller_cpu_us.push(self.each_us(caller_cpu_seconds));
    }

    pub(crate) fn add_service(&mut self, cpu_seconds: f64) {
        self.service_cpu_us.push(self.each_us(cpu_seconds));
    }

    pub(crate) fn add_hub(&mut self, cpu_seconds: f64) {
        self.hub_cpu_us.push(self.each_us(cpu_seconds));
    }

    pub(crate) fn add_latencies(&mut self, latencies: Vec<Duration>) {
        self.latencies.extend(latencies);
    }

    /// How many devices in all turns.
    pub(crate) fn devices(&self) -> usize {
        self.devices
    }

    fn each_us(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.last_turn as f64
    }

    fn settle(&mut self) {
        self.latencies.sort();
        let at = |share: f64| {
            self.latencies.get((self.latencies.len() as f64 * share) as usize).map(|latency| latency.as_secs_f64() * 1e3)
        };
        self.latency_ms = at(0.5).zip(at(0.99)).map(|(median, late)| [median, late]);
    }
}

/// Everything that a run has found.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    version: u32,
    at: Timestamp,
    machine: String,
    rows: Vec<Row>,
    /// The bare cryptography, round by round.
    primitives: Vec<Primitives>,
    /// 4 KiB and `fdatasync`, where each ledger lies: median and 99th percentile in microseconds.
    sync_us: Vec<(String, [f64; 2])>,
    beside: Vec<Beside>,
}

/// The service's CPU beside the bare cryptography of the same work.
#[derive(Debug, Serialize)]
struct Beside {
    what: &'static str,
    callers: usize,
    service_cpu_us: f64,
    cryptography_us: f64,
    times: f64,
}

impl Figures {
    pub(crate) fn new(
        machine: String,
        mut rows: Vec<Row>,
        primitives: Vec<Primitives>,
        syncs: Vec<(String, Vec<f64>)>,
    ) -> Result<Self> {
        rows.iter_mut().for_each(Row::settle);
        let bare = |what: fn(Primitives) -> f64| median(&primitives.iter().copied().map(what).collect::<Vec<_>>());
        let (register, confirm) = (
            bare(Primitives::register_us).context("nothing was measured")?,
            bare(Primitives::confirm_us).context("nothing was measured")?,
        );
        let beside = rows
            .iter()
            .filter(|row| row.ledger.as_deref() == Some("disk"))
            .filter_map(|row| {
                let service_cpu_us = median(&row.service_cpu_us)?;
                let both = row.what == Work::RegisterAndConfirm.as_str();
                let cryptography_us = if both { register + confirm } else { register };
                let times = service_cpu_us / cryptography_us;
                Some(Beside { what: row.what, callers: row.callers, service_cpu_us, cryptography_us, times })
            })
            .collect();
        let sync_us = syncs.into_iter().filter_map(|(on, all)| Some((on, [median(&all)?, *all.get(all.len() * 99 / 100)?])));
        Ok(Self { version: 1, at: Timestamp::now(), machine, rows, sync_us: sync_us.collect(), primitives, beside })
    }

    /// For people: Markdown, so that it can be kept as it is.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.at.strftime("%Y-%m-%d %H:%M UTC"), self.machine);
        let head = [
            "who",
            "does",
            "ledger",
            "callers",
            "min/s",
            "median/s",
            "max/s",
            "p50 ms",
            "p99 ms",
            "service µs",
            "hub µs",
            "caller µs",
        ];
        let rows = self.rows.iter().map(|row| {
            let rates = sorted(&row.devices_per_second);
            let (least, most) = (rates.first().copied(), rates.last().copied());
            let mut cells = vec![
                row.who.to_owned(),
                row.what.to_owned(),
                row.ledger.clone().unwrap_or_else(|| "none".to_owned()),
                row.callers.to_string(),
            ];
            cells.extend([least, median(&rates), most].map(|rate| number(rate, 0)));
            cells.extend([0, 1].map(|at| number(row.latency_ms.map(|latency| latency[at]), 1)));
            cells.extend([&row.service_cpu_us, &row.hub_cpu_us, &row.caller_cpu_us].map(|each| number(median(each), 0)));
            cells
        });
        push(&mut text, &head.map(str::to_owned), rows.collect());

        let each = |what: fn(&Primitives) -> f64| number(median(&self.primitives.iter().map(what).collect::<Vec<_>>()), 1);
        let _ = writeln!(
            text,
            "\nBare cryptography, µs of CPU: Ed25519 strict verification {}, two SHA-256 {}, HPKE seal {}.",
            each(|all| all.verify_us),
            each(|all| all.hash_us),
            each(|all| all.seal_us),
        );
        for (on, [median, late]) in &self.sync_us {
            let _ = writeln!(text, "4 KiB and fdatasync on {on}: {median:.0} µs, 99th percentile {late:.0} µs.");
        }
        text.push('\n');
        let head = ["service CPU, ledger on disk", "callers", "service µs", "cryptography µs", "times"];
        let rows = self.beside.iter().map(|row| {
            let mut cells = vec![row.what.to_owned(), row.callers.to_string()];
            cells.extend([number(Some(row.service_cpu_us), 0), number(Some(row.cryptography_us), 0), number(Some(row.times), 1)]);
            cells
        });
        push(&mut text, &head.map(str::to_owned), rows.collect());
        text
    }
}
