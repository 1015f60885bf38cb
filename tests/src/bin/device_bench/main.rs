//! The comparison behind `tests/bench device`: what writing one device costs, on the wire and off it.
//!
//! Measures, in turns, on the button to practise on (a real MicroPython) at 115200 baud:
//!
//! - **QDRS's driver alone**, through its library: identify, write, read back, finish. Once on a board whose timer was
//!   stopped before, as all others get it; once on a board whose timer ticks, as a button really comes.
//! - **A plain script** of our own in Python ([`tools::PLAIN`]), **`mpremote`** (`fs cp`, then `fs sha256sum`, told not to
//!   reset the board) and **`ampy`** (`put`, then `get`), each with a file of the same settings.
//! - **The whole command** `qdrs provision` with service and hub, at several slots at once: see [`batch`].
//!
//! Each visit has a fresh board, a fresh paced line and a fresh pseudo-terminal, since most of the tools know serial ports only. The
//! line keeps what crossed with its times, and the figures come from there: *write to verified* runs from the first
//! bit of the first piece that serves the write to the last bit of the last answer before the tool leaves. *Visit* is
//! from the first byte to the last that the host sent; *command* is the process from start to end, for the
//! driver alone the calls from open to finish. After each visit the flash must hold what was to be written.
//!
//! Prints tables, or with `--json` one JSON object. Linux only, since it reads `/proc`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Result;
use clap::Parser as _;
use qdrs_tests::machine;

mod batch;
mod figures;
mod site;
mod tools;
mod wire;

use figures::{Figures, Row};
use site::Site;
use tools::Tool;

#[derive(Debug, clap::Parser)]
#[command(about = "Compares what writing one device costs; tests/bench device starts it")]
struct Args {
    /// The folder of the Python programs; without it they are left out
    #[arg(long, value_name = "FOLDER")]
    python: Option<PathBuf>,
    /// How many visits each has
    #[arg(long, value_name = "N", default_value = "11", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many slots at once for the whole command
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,4,16")]
    slots: Vec<usize>,
    /// How many devices for each slot of the whole command
    #[arg(long, value_name = "N", default_value = "10")]
    devices: usize,
    /// Tells of each turn on the wire in one visit of each, on standard error
    #[arg(long)]
    turns: bool,
    /// One JSON object on standard output; the tables go to standard error
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let figures = measure(&args)?;
    let table = figures.table();
    if args.json {
        io::stderr().write_all(table.as_bytes())?;
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&figures)?)?;
    } else {
        io::stdout().write_all(table.as_bytes())?;
    }
    Ok(())
}

fn measure(args: &Args) -> Result<Figures> {
    let machine = machine::describe();
    let folder = tempfile::tempdir()?;
    let tools = Tool::all(args.python.as_deref());
    // One more board than rounds: the first visit warms up and does not count.
    let mut sites = Vec::new();
    for (unit, tool) in tools.iter().enumerate() {
        sites.push(Site::start(&folder.path().join(unit.to_string()), unit, args.rounds + 1)?);
        writeln!(io::stderr(), "{}: a board is ready", tool.name())?;
    }
    let mut rows: Vec<Row> = tools.iter().map(|tool| Row::new(tool.name(), tool.lacks())).collect();
    for round in 0..=args.rounds {
        writeln!(io::stderr(), "round {round} of {}", args.rounds)?;
        for ((tool, site), row) in tools.iter().zip(&mut sites).zip(&mut rows) {
            let visit = site.next(tool.timer(), f64::from(round) / f64::from(args.rounds + 1))?;
            let sample = tool.run(&visit, args.turns && round == 1)?;
            if round > 0 {
                row.add(sample);
                if let Some(ms) = tool.starts_ms()? {
                    row.add_start(ms);
                }
            }
        }
    }
    drop(sites);
    let mut batches = Vec::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for &slots in &args.slots {
        writeln!(io::stderr(), "{slots} slots")?;
        batches.push(runtime.block_on(batch::run(slots, slots * args.devices))?);
    }
    Ok(Figures::new(machine, rows, batches))
}
