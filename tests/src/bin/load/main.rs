//! The load generator behind `tests/bench`: how many registrations a second, and what one costs.
//!
//! Measures, in one run and in turns, so that a machine that slows down slows all of them:
//!
//! - **The service.** `qdrs-service serve` as a child process over a ledger file, and N callers, each a
//!   `qdrs_core::client::Client` with a connection of its own that asks for its next device when it has the last one.
//!   The clock runs from the first request to the last answer; a caller's own work (signing, opening the credential) is
//!   in it. *register* is one signed `PUT`; *register + confirm* is two. A device counts when it is opened (and
//!   confirmed); a refusal ends the run. The same again with the ledger on a tmpfs, which shows what the disk costs.
//! - **The vendor's Python SDK** creating as many devices a thread in the same emulator, over HTTPS as it wants it; so
//!   does the service. The clock runs inside Python, around the calls alone.
//! - **CPU.** User and system time of service, emulator and load generator (`/proc/PID/stat`, ticks of 10 ms) over each
//!   turn, divided by the devices made. Beside it the bare cryptography of one registration, by this thread's own CPU
//!   time: a strict Ed25519 verification of a signature base, SHA-256 of body and job, the HPKE seal of a connection
//!   string.
//! - **The disk.** What one 4 KiB append with `fdatasync` takes where the ledger lies: a commit is at least that.
//!
//! The emulator is a child process of its own (`qdrs-service emulator`, devices in memory). All processes share this
//! machine. Prints a table, or with `--json` one JSON object. Linux only, since it reads `/proc`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use qdrs_tests::machine::{self, CpuSeconds, sync_micros};

mod callers;
mod figures;
mod primitives;
mod vendor;
mod world;

use callers::Work;
use figures::{Figures, Row};
use world::{Emulator, Service};

/// What is done before the clock runs, so that connections are open and caches are warm.
const WARM_UP_DEVICES: usize = 200;
/// How often the disk is asked to keep 4 KiB.
const SYNCS: usize = 200;

#[derive(Debug, clap::Parser)]
#[command(about = "Measures registrations a second and what one costs; tests/bench starts it")]
struct Args {
    /// The release binary of qdrs-service
    #[arg(long, value_name = "FILE")]
    service: PathBuf,
    /// The Python that has the vendor's SDK; without it the SDK is left out
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Where the ledger lies, a folder on the disk to measure
    #[arg(long, value_name = "FOLDER")]
    disk: PathBuf,
    /// A folder on a tmpfs for the comparison; without it, or where there is none, that is left out
    #[arg(long, value_name = "FOLDER")]
    tmpfs: Option<PathBuf>,
    /// How many callers at once
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,8,32", value_parser = at_least_one)]
    callers: Vec<usize>,
    /// How many devices in one turn
    #[arg(long, value_name = "N", default_value = "2000", value_parser = at_least_one)]
    devices: usize,
    /// How many devices the SDK makes in one turn
    #[arg(long, value_name = "N", default_value = "1000", value_parser = at_least_one)]
    vendor_devices: usize,
    /// How many turns each has
    #[arg(long, value_name = "N", default_value = "5", value_parser = at_least_one)]
    rounds: usize,
    /// One JSON object on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("`{text}` is no number from 1 on"))
}

fn main() -> Result<()> {
    let args = Args::parse();
    // As much as there is: the callers must not be what is measured.
    let figures = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&args))?;
    let table = figures.table();
    if args.json {
        io::stderr().write_all(table.as_bytes())?;
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&figures)?)?;
    } else {
        io::stdout().write_all(table.as_bytes())?;
    }
    Ok(())
}

/// One thing that has its turn in every round.
enum Turn<'a> {
    /// Callers of one of the services.
    Service { on: &'a str, service: &'a Service, callers: usize, work: Work },
    /// The vendor's SDK.
    Vendor { python: &'a PathBuf, how: vendor::How },
}

async fn measure(args: &Args) -> Result<Figures> {
    let machine = machine::describe();
    let folder = tempfile::tempdir_in(&args.disk).with_context(|| format!("no folder in {}", args.disk.display()))?;
    let emulator = Emulator::start(&args.service, folder.path()).await?;
    let mut media = vec![("disk", folder.path().to_owned())];
    let shadow = args.tmpfs.as_ref().filter(|path| path.is_dir()).map(tempfile::tempdir_in).transpose()?;
    media.extend(shadow.iter().map(|folder| ("tmpfs", folder.path().to_owned())));

    let mut services = Vec::new();
    let mut syncs = Vec::new();
    for (on, path) in &media {
        syncs.push(((*on).to_owned(), sync_micros(path, SYNCS)?));
        services.push((*on, Service::start(&args.service, path, &emulator).await?));
    }
    let mut turns = Vec::new();
    for (on, service) in &services {
        // What the confirmation costs is asked of the disk alone.
        let works = if *on == "disk" { &[Work::Register, Work::RegisterAndConfirm][..] } else { &[Work::Register][..] };
        for &work in works {
            turns.extend(args.callers.iter().map(|&callers| Turn::Service { on, service, callers, work }));
        }
    }
    if let Some(python) = &args.python {
        turns.extend(vendor::How::ALL.map(|how| Turn::Vendor { python, how }));
    }

    let mut serials = callers::Serials::default();
    for (_, service) in &services {
        callers::run(service, 8, WARM_UP_DEVICES, Work::RegisterAndConfirm, &mut serials).await?;
    }
    let mut rows: Vec<Row> = turns.iter().map(Turn::row).collect();
    let mut primitives = Vec::new();
    for round in 1..=args.rounds {
        writeln!(io::stderr(), "round {round} of {}", args.rounds)?;
        primitives.push(primitives::measure()?);
        for (turn, row) in turns.iter().zip(&mut rows) {
            turn.take(args, round, &emulator, &mut serials, row).await?;
        }
    }
    let made = emulator.devices().await?;
    let expected = serials.given() + rows.iter().filter(|row| row.who == figures::VENDOR).map(Row::devices).sum::<usize>();
    ensure!(made == expected, "the hub has {made} devices, and {expected} were counted");
    let figures = Figures::new(machine, rows, primitives, syncs)?;
    for (_, service) in services {
        service.stop().await?;
    }
    emulator.stop().await?;
    Ok(figures)
}

impl Turn<'_> {
    /// The empty row of the table.
    fn row(&self) -> Row {
        match self {
            Self::Service { on, callers, work, .. } => Row::new(figures::QDRS, work.as_str(), *callers, Some(on)),
            Self::Vendor { how, .. } => Row::new(figures::VENDOR, how.as_str(), how.threads(), None),
        }
    }

    async fn take(
        &self,
        args: &Args,
        round: usize,
        emulator: &Emulator,
        serials: &mut callers::Serials,
        row: &mut Row,
    ) -> Result<()> {
        let hub_before = CpuSeconds::of(emulator.pid())?;
        match self {
            Self::Service { service, callers, work, .. } => {
                let (before, own_before) = (CpuSeconds::of(service.pid())?, CpuSeconds::of(std::process::id())?);
                let began = Instant::now();
                let latencies = callers::run(service, *callers, args.devices, *work, serials).await?;
                let seconds = began.elapsed().as_secs_f64();
                row.add(args.devices, seconds, CpuSeconds::of(std::process::id())?.since(own_before));
                row.add_service(CpuSeconds::of(service.pid())?.since(before));
                row.add_latencies(latencies);
            }
            Self::Vendor { python, how } => {
                let made = vendor::run(python, emulator, *how, args.vendor_devices, round).await?;
                row.add(made.devices, made.seconds, made.cpu_seconds);
            }
        }
        row.add_hub(CpuSeconds::of(emulator.pid())?.since(hub_before));
        Ok(())
    }
}
