//! What the system says: CPU time of processes and threads, and how long its disk takes to keep something.

use std::{io::Write as _, path::Path, time::Instant};

use anyhow::{Context as _, Result};

/// Ticks of `/proc/PID/stat` in a second: USER_HZ, which Linux keeps at 100 whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of a process since it started, dead threads and all.
#[derive(Debug, Clone, Copy)]
pub struct CpuSeconds(f64);

impl CpuSeconds {
    /// Of that process, until now.
    ///
    /// # Errors
    /// It has ended, or the system is not Linux.
    pub fn of(pid: u32) -> Result<Self> {
        // utime and stime.
        Self::read(pid, 14)
    }

    /// Of all children of this process that have ended and were waited for.
    ///
    /// # Errors
    /// The system is not Linux.
    pub fn of_ended_children() -> Result<Self> {
        // cutime and cstime.
        Self::read(std::process::id(), 16)
    }

    /// The sum of this field of `/proc/PID/stat` and the next, numbered as its manual numbers them.
    fn read(pid: u32, field: usize) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&path).with_context(|| format!("process {pid} is gone"))?;
        // The second field is the name in brackets, which may hold blanks.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |at: usize| fields.get(at - 3).and_then(|field| field.parse::<u64>().ok()).with_context(|| path.clone());
        Ok(Self((ticks(field)? + ticks(field + 1)?) as f64 / TICKS_PER_SECOND))
    }

    /// Seconds since an earlier look.
    pub fn since(self, before: Self) -> f64 {
        self.0 - before.0
    }
}

impl std::iter::Sum for CpuSeconds {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        Self(all.map(|one| one.0).sum())
    }
}

/// CPU time of this thread, in nanoseconds: what others take from it does not count.
///
/// # Errors
/// The system is not Linux.
pub fn thread_nanos() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).context("/proc/thread-self/schedstat")
}

/// How long the disk takes to keep a 4 KiB append: microseconds, sorted.
///
/// # Errors
/// The folder can't be written.
pub fn sync_micros(folder: &Path, count: usize) -> Result<Vec<f64>> {
    let path = folder.join("sync-probe");
    let mut file = std::fs::File::create(&path)?;
    let mut micros = Vec::with_capacity(count);
    for _ in 0..count {
        file.write_all(&[7; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        micros.push(began.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(path)?;
    micros.sort_by(f64::total_cmp);
    Ok(micros)
}

/// What the figures belong to: processor, cores and kernel, as the system names them.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()))
        .unwrap_or_else(|| "processor unknown".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("{processor}, {cores} cores, Linux {}, load {load} when it began", read("/proc/sys/kernel/osrelease").trim())
}
