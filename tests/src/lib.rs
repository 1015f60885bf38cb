//! The people and things of the end-to-end stories: a cloud (hub and service), stations, devices, the network between.
//!
//! The service and the stations are the real binaries, each a process of its own that can be killed; the hub is the
//! emulator and the devices are the practice devices, in the test's process so that a story can look into them. Each
//! test has its own world in a temporary folder, on free ports, and waits for conditions, never for time.

#![allow(clippy::print_stderr)] // What a failed story needs to be told again.

mod books;
mod button;
mod cloud;
mod hand;
mod line;
pub mod machine;
mod microbit;
mod outside;
mod proxy;
#[cfg(unix)]
mod pty;
mod station;
pub mod table;

pub use books::{Books, LedgerRow};
pub use button::{Button, Flash, boards, connection_string, factory_settings, others, settings_that_a_boot_would_load};
pub use cloud::Cloud;
pub use hand::{Hand, QUIET, driver_at};
pub use line::{Crossing, Cut, Line, LineOptions};
pub use microbit::Microbit;
pub use outside::{node_packages, python};
pub use proxy::Proxy;
#[cfg(unix)]
pub use pty::Pty;
pub use station::{Bench, Ended, Provision, Station};

use std::path::{Path, PathBuf};

/// A binary of the workspace, as built by the test command.
pub fn binary(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("the test knows where it is");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --bins` (tests/run does)", path.display());
    path
}

/// The repository's folder.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Valid serials of the sample policy, as many as asked for.
pub fn serials(count: usize) -> Vec<String> {
    // Multiples of 7 from the policy's lower end on.
    (0..count).map(|n| format!("QD-{:07}", 10_003 + 7 * n)).collect()
}

/// Is this the deep run (`tests/run deep`)?
pub fn deep() -> bool {
    std::env::var_os("QDRS_TEST_DEEP").is_some()
}

/// Random numbers from the one seed of a run, which a failure prints.
pub struct Dice(u64);

impl Dice {
    /// The seed is `QDRS_TEST_SEED`, else a fixed one; `story` keeps the stories' numbers apart.
    pub fn new(story: &str) -> Self {
        let seed: u64 = std::env::var("QDRS_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        eprintln!("{story}: again with QDRS_TEST_SEED={seed} tests/run {story}");
        Self(
            story
                .bytes()
                .fold(seed ^ 0x9E37_79B9_7F4A_7C15, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)),
        )
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

/// Looks at a condition every few milliseconds until it holds; a story that waits too long has failed.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looks = async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(3));
        while !holds() {
            tick.tick().await;
        }
    };
    assert!(tokio::time::timeout(std::time::Duration::from_secs(60), looks).await.is_ok(), "waited in vain for: {what}");
}
