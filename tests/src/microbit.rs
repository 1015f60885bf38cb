//! The second real MicroPython: the micro:bit's own firmware (1.9.2, of the button's age) on QEMU's model of the board.
//!
//! It has what the button to practise on has not: the raw REPL as it was then, byte for byte; Ctrl-C that interrupts a
//! running program; 63 bytes of input and 6 KB of memory. It lacks what the write needs: `rename`, JSON, hashes.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The firmware, as Debian packs it.
const FIRMWARE: &str = "/usr/share/firmware-microbit-micropython/firmware.hex";
const HOW_TO_GET: &str = "on Debian: apt-get install --no-install-recommends qemu-system-arm firmware-microbit-micropython";
/// How long QEMU may take to listen.
const START_MAX: Duration = Duration::from_secs(20);

/// One at a time: a board without its share of the processor loses what comes meanwhile, as no real one would.
static TURN: Mutex<()> = Mutex::new(());

/// A micro:bit at a port, switched on; its memory and files end with it, when it is dropped.
pub struct Microbit {
    process: Child,
    port: u16,
    _turn: MutexGuard<'static, ()>,
}

impl Microbit {
    /// Switches one on.
    pub fn start() -> Self {
        assert!(Path::new(FIRMWARE).exists(), "{FIRMWARE} is missing; {HOW_TO_GET}");
        let mut turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // QEMU does not say which port it took, so it is given one that was free a moment ago; another, if it was taken.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = free.local_addr().expect("its address").port();
            drop(free);
            let mut microbit = Self { process: qemu(port), port, _turn: turn };
            if microbit.listens() {
                return microbit;
            }
            drop(microbit);
            turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        }
        panic!("QEMU does not start");
    }

    fn listens(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < START_MAX && self.process.try_wait().expect("the child can be asked").is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// The port's name.
    pub fn port_name(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }
}

impl Drop for Microbit {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn qemu(port: u16) -> Child {
    Command::new("qemu-system-arm")
        .args(["-M", "microbit", "-nographic", "-monitor", "none", "-device"])
        .arg(format!("loader,file={FIRMWARE}"))
        .arg("-serial")
        .arg(format!("tcp:127.0.0.1:{port},server=on,wait=off,nodelay=on"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("qemu-system-arm can't be started ({error}); {HOW_TO_GET}"))
}
