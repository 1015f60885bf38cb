//! The clock that runs from the machine's start on, also while it sleeps: no step of the wall clock changes it.
//!
//! Every process of a machine reads the same one, so a command can tell how long ago the service did something. Only Linux has
//! the files that it is read from; elsewhere there is no reading, and nothing is known of an age.

use std::{fs, sync::OnceLock, time::Duration};

use jiff::Timestamp;

/// A reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Which start of which machine; another one has another clock.
    pub boot: String,
    /// The time since that start.
    pub up: Duration,
}

impl Reading {
    /// The reading at this moment, if the system has one.
    pub fn now() -> Option<Self> {
        static BOOT: OnceLock<Option<String>> = OnceLock::new();
        let boot = BOOT.get_or_init(|| Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned()));
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let up = Duration::try_from_secs_f64(uptime.split_whitespace().next()?.parse().ok()?).ok()?;
        Some(Self { boot: boot.clone()?, up })
    }
}

/// How long ago something was done, at least. No step of the wall clock, in either direction, makes it more than it is.
///
/// From the same start on the clock says it exactly. What was done before this start is at least as old as the start, but a
/// ledger may also come from another machine that was up meanwhile, so the wall clock bounds it as well. Without a reading
/// nothing is known.
pub fn age_at_least(at: Timestamp, then: Option<&Reading>, wall: Timestamp, now: Option<&Reading>) -> Duration {
    match (then, now) {
        (Some(then), Some(now)) if then.boot == now.boot => now.up.saturating_sub(then.up),
        (Some(_), Some(now)) => Duration::try_from(wall.duration_since(at)).unwrap_or_default().min(now.up),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(boot: &str, up: u64) -> Option<Reading> {
        Some(Reading { boot: boot.into(), up: Duration::from_secs(up) })
    }

    fn age(then: Option<Reading>, stepped: i64, now: Option<Reading>) -> u64 {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let wall = Timestamp::from_second(1_800_000_000 + stepped).unwrap();
        age_at_least(at, then.as_ref(), wall, now.as_ref()).as_secs()
    }

    #[test]
    fn a_step_of_the_wall_clock_changes_no_age_within_one_start() {
        for stepped in [-3600, 0, 60, 3600, 86_400 * 365] {
            assert_eq!(age(reading("a", 100), stepped, reading("a", 160)), 60, "{stepped}");
        }
    }

    #[test]
    fn what_was_done_before_the_start_is_as_old_as_both_clocks_allow() {
        assert_eq!(age(reading("a", 5000), 3600, reading("b", 60)), 60, "the wall clock may have stepped ahead");
        assert_eq!(age(reading("a", 5000), 30, reading("b", 9000)), 30, "another machine, which was up before");
        assert_eq!(age(reading("a", 5000), -3600, reading("b", 9000)), 0, "the wall clock has stepped back");
    }

    #[test]
    fn without_a_reading_nothing_is_known() {
        for (then, now) in [(None, reading("a", 9000)), (reading("a", 1), None), (None, None)] {
            assert_eq!(age(then, 86_400, now), 0);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn two_readings_are_of_one_start_and_in_their_order() {
        let (first, second) = (Reading::now().expect("Linux has it"), Reading::now().expect("Linux has it"));
        assert_eq!(first.boot, second.boot);
        assert!(first.up <= second.up && !first.up.is_zero());
    }
}
