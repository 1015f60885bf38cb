//! The whole command: `qdrs provision` with service and hub, a batch over several slots at once.
//!
//! Each slot has a practice button, whose next board comes as soon as one has switched itself off, and a paced line. The
//! boards are as they really come, with their timer ticking. The hub and the lines are in this process.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use qdrs_tests::{
    Button, Cloud, Line, LineOptions, Pty, Station, connection_string, machine::CpuSeconds, serials,
    settings_that_a_boot_would_load,
};
use serde::Serialize;

use crate::site::BAUD;

/// One batch.
#[derive(Debug, Serialize)]
pub(crate) struct Batch {
    pub(crate) slots: usize,
    pub(crate) devices: usize,
    pub(crate) seconds: f64,
    /// CPU milliseconds a device: of `qdrs`, of the service, of the boards, of this process with hub and lines.
    pub(crate) station_cpu_ms: f64,
    pub(crate) service_cpu_ms: f64,
    pub(crate) boards_cpu_ms: f64,
    pub(crate) bench_cpu_ms: f64,
}

pub(crate) async fn run(slots: usize, devices: usize) -> Result<Batch> {
    let cloud = Cloud::start().await;
    let station = Station::new("bench", &cloud.url(), &cloud.access_code("bench", &[]));
    let serials = serials(devices);
    let folder = tempfile::tempdir()?;
    let many = devices.to_string();
    let buttons: Vec<Button> = (0..slots)
        .map(|slot| {
            let unit = slot.to_string();
            Button::start(&folder.path().join(&unit), &["--boards", &many, "--unit", &unit, "--swap", "1"])
        })
        .collect();
    let paced = LineOptions { baud: Some(BAUD), overruns: true, ..LineOptions::default() };
    let lines: Vec<Line> = buttons.iter().map(|button| Line::to(button.port_name(), paced, "device bench")).collect();
    let ports = lines.iter().map(Pty::at).collect::<Result<Vec<_>, _>>()?;
    let ports: Vec<String> = ports.iter().map(|port| port.port_name().to_owned()).collect();
    let batch = station.batch(&serials);

    let service = cloud.service_pid().context("the service runs")?;
    let looks = || -> Result<[CpuSeconds; 4]> {
        let boards = buttons.iter().map(|button| CpuSeconds::of(button.pid())).sum::<Result<CpuSeconds>>()?;
        Ok([CpuSeconds::of_ended_children()?, CpuSeconds::of(service)?, boards, CpuSeconds::of(std::process::id())?])
    };
    let before = looks()?;
    let began = Instant::now();
    let ended = station.provision_at("texxmo", &batch, &ports).ends().await;
    let seconds = began.elapsed().as_secs_f64();
    let after = looks()?;
    ensure!(ended.code == Some(0), "qdrs failed:\n{}\n{}", ended.stdout, ended.stderr);

    let flashes = buttons.iter().flat_map(Button::boards);
    let held: Vec<_> = flashes.filter_map(|flash| connection_string(&settings_that_a_boot_would_load(&flash)?)).collect();
    cloud.books().balance(&serials, &held);
    ensure!(lines.iter().all(|line| line.lost() == 0), "a board was sent more than it can hold");
    let mut each = before.iter().zip(after).map(|(before, after)| after.since(*before) * 1e3 / devices as f64);
    let mut next = || each.next().context("four were measured");
    Ok(Batch {
        slots,
        devices,
        seconds,
        station_cpu_ms: next()?,
        service_cpu_ms: next()?,
        boards_cpu_ms: next()?,
        bench_cpu_ms: next()?,
    })
}
