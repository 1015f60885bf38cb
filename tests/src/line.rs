//! The line: a serial cable between station and device that is as slow as a real one and fails when told to.
//!
//! The station opens it as `tcp://…`; the device is at a TCP port. It carries bytes at a baud rate, is cut at the n-th byte
//! of either direction (silent as a broken wire, or with a hang-up as a pulled adapter), flips bits with a seeded
//! probability, loses what overruns the device's 255 bytes while the device is busy, and says lines of its own.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::Dice;

/// What the device's UART holds while its program is busy.
const RX_MAX: u64 = 255;

/// As many bytes cross at once as a UART's FIFO hands over.
const PIECE: usize = 32;

/// Where and how a line is cut.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// So many bytes of this direction still cross.
    pub after: u64,
    /// The station's end is hung up as well (a pulled adapter); else nothing crosses any more (a broken wire).
    pub hangs_up: bool,
}

/// How good the line is; the default is perfect and as fast as the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineOptions {
    /// Bits a second, ten for each byte; as fast as it goes if none.
    pub baud: Option<u32>,
    /// The cut on the way to the device.
    pub cut_to_device: Option<Cut>,
    /// The cut on the way to the station.
    pub cut_to_host: Option<Cut>,
    /// Of a million bytes, so many cross with one bit flipped.
    pub flips_per_million: u32,
    /// What is sent while the device runs a program waits in 255 bytes; the rest is lost.
    pub overruns: bool,
    /// All that crosses is kept, with its times.
    pub records: bool,
}

/// Some bytes that crossed the line together.
#[derive(Clone)]
pub struct Crossing {
    /// To the device; else to the station.
    pub to_device: bool,
    /// When the first bit went out.
    pub began: Instant,
    /// When the last bit was there.
    pub ended: Instant,
    /// What it was; may be a credential.
    pub bytes: Vec<u8>,
}

/// The cable; ends when dropped.
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    options: LineOptions,
    host: Mutex<Option<TcpStream>>,
    device: Mutex<Option<TcpStream>>,
    dice: Option<Mutex<Dice>>,
    cut: AtomicBool,
    ended: AtomicBool,
    busy: AtomicBool,
    waiting: AtomicU64,
    to_device: AtomicU64,
    to_host: AtomicU64,
    turns: AtomicU64,
    lost: AtomicU64,
    flipped: AtomicU64,
    host_spoke_last: AtomicBool,
    record: Mutex<Vec<Crossing>>,
}

impl Line {
    /// A line to the device at `tcp://host:port`; `story` seeds the flipped bits.
    pub fn to(device: &str, options: LineOptions, story: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            options,
            host: Mutex::default(),
            device: Mutex::default(),
            dice: (options.flips_per_million > 0).then(|| Mutex::new(Dice::new(story))),
            cut: AtomicBool::default(),
            ended: AtomicBool::default(),
            busy: AtomicBool::default(),
            waiting: AtomicU64::default(),
            to_device: AtomicU64::default(),
            to_host: AtomicU64::default(),
            turns: AtomicU64::default(),
            lost: AtomicU64::default(),
            flipped: AtomicU64::default(),
            host_spoke_last: AtomicBool::default(),
            record: Mutex::default(),
        });
        let line = Self { address, shared };
        line.attach(device);
        let shared = Arc::clone(&line.shared);
        std::thread::spawn(move || {
            while let Ok((host, _)) = listener.accept() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                shared.station_opens(host);
            }
        });
        line
    }

    /// Joins another device to the far end, or the same after it was started again.
    pub fn attach(&self, device: &str) {
        let address = device.strip_prefix("tcp://").expect("a tcp:// port");
        let stream = TcpStream::connect(address).expect("the device is there");
        stream.set_nodelay(true).expect("a socket option");
        let reader = stream.try_clone().expect("a second handle");
        if let Some(old) = held(&self.shared.device).replace(stream) {
            let _ = old.shutdown(Shutdown::Both);
        }
        self.shared.busy.store(false, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || shared.carry(reader, Way::ToHost));
    }

    /// The port's name for the station.
    pub fn port_name(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// A pulled adapter: the station's end hangs up. It may open the port again.
    pub fn hang_up(&self) {
        self.shared.hang_up();
    }

    /// Says something to the station, between whatever the device says.
    pub fn inject(&self, bytes: &[u8]) {
        if let Some(host) = held(&self.shared.host).as_mut() {
            let _ = host.write_all(bytes);
        }
    }

    /// Has the cut come?
    pub fn is_cut(&self) -> bool {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// How many bytes the station sent.
    pub fn to_device(&self) -> u64 {
        self.shared.to_device.load(Ordering::SeqCst)
    }

    /// How many bytes the device sent.
    pub fn to_host(&self) -> u64 {
        self.shared.to_host.load(Ordering::SeqCst)
    }

    /// How often the station spoke after the device had.
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::SeqCst)
    }

    /// What has crossed so far, if the line records it.
    pub fn record(&self) -> Vec<Crossing> {
        held(&self.shared.record).clone()
    }

    /// All that the device has said so far, if the line records it.
    pub fn heard(&self) -> String {
        let record = held(&self.shared.record);
        let bytes = record.iter().filter(|crossing| !crossing.to_device).flat_map(|crossing| &crossing.bytes);
        String::from_utf8_lossy(&bytes.copied().collect::<Vec<u8>>()).into_owned()
    }

    /// How many bytes overran the device.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// How many bits were flipped.
    pub fn flipped(&self) -> u64 {
        self.shared.flipped.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.hang_up();
        if let Some(device) = held(&self.shared.device).take() {
            let _ = device.shutdown(Shutdown::Both);
        }
        // Wakes the one that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    ToDevice,
    ToHost,
}

impl Shared {
    fn station_opens(self: &Arc<Self>, host: TcpStream) {
        let Ok(reader) = host.set_nodelay(true).and_then(|()| host.try_clone()) else { return };
        if let Some(old) = held(&self.host).replace(host) {
            let _ = old.shutdown(Shutdown::Both);
        }
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.carry(reader, Way::ToDevice));
    }

    fn hang_up(&self) {
        if let Some(host) = held(&self.host).take() {
            let _ = host.shutdown(Shutdown::Both);
        }
    }

    /// One direction, until its source ends.
    fn carry(&self, mut from: TcpStream, way: Way) {
        let mut piece = [0; PIECE];
        let mut free_at = Instant::now();
        // The end of a source is no error here: the other side notices by silence, as on a cable.
        while let Ok(count @ 1..) = from.read(&mut piece) {
            let mut began = Instant::now();
            if let Some(baud) = self.options.baud {
                began = began.max(free_at);
                // A byte has crossed when its last bit has.
                let bits = 10 * u64::try_from(count).unwrap_or(u64::MAX);
                free_at = free_at.max(Instant::now()) + Duration::from_micros(bits * 1_000_000 / u64::from(baud));
                std::thread::sleep(free_at.saturating_duration_since(Instant::now()));
            }
            let mut crossing = piece[..count].to_vec();
            let (to_device, ended) = (way == Way::ToDevice, Instant::now());
            let kept = self.options.records.then(|| Crossing { to_device, began, ended, bytes: crossing.clone() });
            self.count(way, &mut crossing);
            self.flip(&mut crossing);
            let sink = match way {
                Way::ToDevice => {
                    self.overrun(&mut crossing);
                    &self.device
                }
                Way::ToHost => {
                    if crossing.ends_with(b">") || crossing.ends_with(b"> ") {
                        self.busy.store(false, Ordering::SeqCst);
                    }
                    &self.host
                }
            };
            if let Some(sink) = held(sink).as_mut() {
                let _ = sink.write_all(&crossing);
            }
            // Who looks at the record finds there what has arrived.
            held(&self.record).extend(kept);
            let cut = match way {
                Way::ToDevice => self.options.cut_to_device,
                Way::ToHost => self.options.cut_to_host,
            };
            if self.is_cut_now() && cut.is_some_and(|cut| cut.hangs_up) {
                self.hang_up();
            }
        }
    }

    fn is_cut_now(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Counts what crosses, and takes away what comes after the cut.
    fn count(&self, way: Way, crossing: &mut Vec<u8>) {
        let (total, cut) = match way {
            Way::ToDevice => (&self.to_device, self.options.cut_to_device),
            Way::ToHost => (&self.to_host, self.options.cut_to_host),
        };
        let from_host = way == Way::ToDevice;
        if !self.host_spoke_last.swap(from_host, Ordering::SeqCst) && from_host {
            self.turns.fetch_add(1, Ordering::SeqCst);
        }
        if self.is_cut_now() {
            crossing.clear();
            return;
        }
        let before = total.fetch_add(crossing.len() as u64, Ordering::SeqCst);
        if let Some(cut) = cut.filter(|cut| before + crossing.len() as u64 > cut.after) {
            crossing.truncate(usize::try_from(cut.after.saturating_sub(before)).unwrap_or(usize::MAX));
            self.cut.store(true, Ordering::SeqCst);
        }
    }

    fn flip(&self, crossing: &mut [u8]) {
        let Some(dice) = &self.dice else { return };
        let mut dice = held(dice);
        for byte in crossing {
            if dice.below(1_000_000) < u64::from(self.options.flips_per_million) {
                *byte ^= 1 << dice.below(8);
                self.flipped.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// A running program reads nothing: from the byte that started it on, 255 bytes wait and the rest is lost.
    fn overrun(&self, crossing: &mut Vec<u8>) {
        if !self.options.overruns {
            return;
        }
        crossing.retain(|&byte| {
            if !self.busy.load(Ordering::SeqCst) {
                self.waiting.store(0, Ordering::SeqCst);
                self.busy.store(byte == 4, Ordering::SeqCst);
                return true;
            }
            let fits = self.waiting.fetch_add(1, Ordering::SeqCst) < RX_MAX;
            if !fits {
                self.lost.fetch_add(1, Ordering::SeqCst);
            }
            fits
        });
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
