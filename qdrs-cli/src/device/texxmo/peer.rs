//! A peer for the driver's tests: speaks the raw REPL byte by byte over TCP, and answers the driver's pieces from a small
//! table instead of running them. It goes wrong exactly where it is told to.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

/// What it says at its friendly prompt's begin.
pub(super) const STARTED: &str = "\r\nMicroPython v1.9.3; ESP module\r\nType \"help()\" for more information.\r\n>>> ";
/// What it says at its raw prompt's begin.
pub(super) const READY: &str = "\r\nraw REPL; CTRL-B to exit\r\n>";
/// The window of its raw paste.
const WINDOW: usize = 32;
/// The hash of whatever was written.
pub(super) const WRITTEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// How the peer's firmware takes raw paste.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Paste {
    /// It has never heard of it.
    #[default]
    Old,
    Refused,
    Window,
    /// It says that it has a window, and then nothing more.
    Broken,
}

/// How the peer fails at one piece, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lapse {
    /// It has not heard the end of it.
    Unheard,
    /// It says first once more that it is ready, as one that is slow to answer to an earlier prompt.
    Late,
    /// It accepts it, and says nothing any more until it is spoken to.
    Accepted,
    HangsUp,
}

/// How the peer is to be.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) paste: Paste,
    /// Is said before, inside and after each answer.
    pub(super) noise: &'static str,
    /// The host's byte of that number arrives with one bit flipped; once.
    pub(super) flip_at: Option<usize>,
    /// The host's byte of that number does not arrive; once.
    pub(super) lose_at: Option<usize>,
    /// Another program types these bytes before the host's byte of that number arrives; once.
    pub(super) typed_at: Option<(usize, &'static [u8])>,
    /// From the host's byte of that number on it is silent.
    pub(super) die_at: Option<usize>,
    /// Starts anew instead of running the first piece with this text in it; says so or not.
    pub(super) restart_at: Option<(&'static str, bool)>,
    /// Another board, with the same helpers, is in its place from the first piece with this text in it on.
    pub(super) exchange_at: Option<&'static str>,
    /// Answers so to the pieces with this text in them: (text, answer); the answer may be a traceback.
    pub(super) says: Vec<(&'static str, &'static str)>,
    /// The same, for so many of the first such pieces only: (number, text, answer).
    pub(super) says_first: Option<(usize, &'static str, &'static str)>,
    /// Says this, too, when it has answered the first piece with this text: (text, what is said).
    pub(super) says_after: Option<(&'static str, &'static str)>,
    /// Fails so at the first piece with this text.
    pub(super) lapse: Option<(&'static str, Lapse)>,
    /// Hears nothing at first, but talks.
    pub(super) deaf: Duration,
    /// Takes so long for each prompt.
    pub(super) slow: Duration,
    /// Hears Ctrl-C only, since something stands on its line.
    pub(super) left_over: bool,
    /// Is not the button's firmware.
    pub(super) other: bool,
    /// Does not leave raw mode.
    pub(super) stays_raw: bool,
    /// What it says when it starts.
    pub(super) greeting: &'static str,
}

/// What the peer has seen.
#[derive(Default, Clone)]
pub(super) struct Seen {
    /// Each piece that it ran.
    pub(super) ran: Vec<String>,
    pub(super) host_bytes: usize,
    pub(super) values: Option<Vec<String>>,
    /// The further settings, as they came.
    pub(super) further: Vec<u8>,
    pub(super) soft_resets: usize,
    /// How long each source was that came in the plain way, and by raw paste.
    pub(super) plain: Vec<usize>,
    pub(super) pasted: Vec<usize>,
    /// How often it was asked for raw paste.
    pub(super) paste_asked: usize,
    pub(super) interrupts: usize,
    /// True once it was asked while earlier prompts were unanswered.
    pub(super) hurried: bool,
}

/// The peer, until it is dropped.
pub(super) struct Peer {
    pub(super) port: String,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub(super) fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = format!("tcp://{}", listener.local_addr().expect("an address"));
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::new(AtomicBool::new(false)));
        let (theirs, ended) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else { return };
            Speaker::new(stream, options, theirs).run(&ended);
        });
        Self { port, seen, stop, thread: Some(thread) }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().expect("not poisoned").clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // One that nobody called still listens.
        let _ = TcpStream::connect(self.port.trim_start_matches("tcp://"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Speaker {
    stream: TcpStream,
    options: Options,
    seen: Arc<Mutex<Seen>>,
    raw: bool,
    line: Vec<u8>,
    pasting: bool,
    /// How many bytes it takes by raw paste before it says that there is room again; more are lost.
    room: usize,
    hung_up: bool,
    /// Have the tools been defined?
    tools: bool,
    /// Does it know the timer's program by the driver's name for it?
    calmed: bool,
    /// Does it take the further settings as well?
    extended: bool,
    tick: u32,
    mac: &'static str,
}

impl Speaker {
    fn new(stream: TcpStream, options: Options, seen: Arc<Mutex<Seen>>) -> Self {
        stream.set_nodelay(true).expect("sets");
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("sets");
        let line = if options.left_over { b"x = (1,".to_vec() } else { Vec::new() };
        let mac = "5c:cf:7f:00:00:01";
        Self {
            stream,
            options,
            seen,
            raw: false,
            line,
            pasting: false,
            room: 0,
            hung_up: false,
            tools: false,
            calmed: false,
            extended: false,
            tick: 118,
            mac,
        }
    }

    fn run(mut self, stop: &AtomicBool) {
        self.say(self.options.greeting.as_bytes());
        let awake = Instant::now() + self.options.deaf;
        while Instant::now() < awake && !stop.load(Ordering::Relaxed) {
            self.say(b"Wait for STA WLAN:  9\r\n");
            thread::sleep(Duration::from_millis(200));
        }
        let mut buffer = [0; 64];
        while !stop.load(Ordering::Relaxed) && !self.hung_up {
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    for (at, byte) in buffer[..count].iter().enumerate() {
                        if *byte == 0x01 && !self.options.slow.is_zero() {
                            thread::sleep(self.options.slow);
                            self.look_for_hurry(&buffer[at + 1..count]);
                        }
                        self.receive(*byte);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    // Only now there is room again, so that whoever sends more than there was loses it.
                    if self.pasting && self.room == 0 && self.options.paste == Paste::Window {
                        self.room = WINDOW;
                        self.say(b"\x01");
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// True if source waits behind an unanswered prompt.
    fn look_for_hurry(&mut self, taken: &[u8]) {
        let mut waiting = [0; 64];
        self.stream.set_nonblocking(true).expect("sets");
        let count = self.stream.peek(&mut waiting).unwrap_or(0);
        self.stream.set_nonblocking(false).expect("sets");
        let hurried = taken.iter().chain(&waiting[..count]).any(|byte| *byte >= b' ');
        self.seen.lock().expect("not poisoned").hurried |= hurried;
    }

    fn say(&mut self, bytes: &[u8]) {
        // Who hung up does not listen.
        let _ = self.stream.write_all(bytes);
    }

    fn receive(&mut self, byte: u8) {
        let at = {
            let mut seen = self.seen.lock().expect("not poisoned");
            seen.host_bytes += 1;
            seen.interrupts += usize::from(byte == 0x03);
            seen.host_bytes - 1
        };
        if self.options.die_at.is_some_and(|die| at >= die) || self.options.lose_at == Some(at) {
            return;
        }
        if let Some((_, typed)) = self.options.typed_at.take_if(|(typed, _)| *typed == at) {
            typed.iter().for_each(|byte| self.take(*byte));
        }
        let byte = if self.options.flip_at == Some(at) { byte ^ 0x01 } else { byte };
        self.take(byte);
    }

    fn take(&mut self, byte: u8) {
        match byte {
            0x04 if self.pasting => {
                self.pasting = false;
                self.say(b"\x04");
                self.execute(false);
            }
            0x03 if self.pasting => {
                self.pasting = false;
                self.line.clear();
                self.say(b"\x04\x04\r\nKeyboardInterrupt: \r\n\x04>");
            }
            _ if self.pasting && self.room == 0 => {}
            _ if self.pasting => {
                self.line.push(byte);
                self.room -= 1;
            }
            0x01 if self.raw && self.line == b"\x05A" && self.options.paste != Paste::Old => {
                self.seen.lock().expect("not poisoned").paste_asked += 1;
                self.line.clear();
                match self.options.paste {
                    Paste::Refused => self.say(b"R\x00"),
                    _ => {
                        (self.pasting, self.room) = (true, WINDOW);
                        self.say(b"R\x01\x20\x00");
                    }
                }
            }
            0x02 if !self.options.stays_raw => {
                self.raw = false;
                self.line.clear();
                self.say(STARTED.as_bytes());
            }
            b'\r' if !self.raw => {
                self.line.clear();
                self.say(b"\r\n>>> ");
            }
            0x01 if self.raw || self.line.is_empty() => {
                self.seen.lock().expect("not poisoned").paste_asked += usize::from(self.line == b"\x05A");
                self.raw = true;
                self.line.clear();
                self.say(READY.as_bytes());
            }
            0x03 => {
                self.line.clear();
                if !self.raw {
                    self.say(b"\r\n>>> ");
                }
            }
            0x04 if self.raw => self.execute(true),
            0x04 if self.line.is_empty() => self.seen.lock().expect("not poisoned").soft_resets += 1,
            _ => {
                self.line.push(byte);
                if !self.raw {
                    self.say(&[byte]);
                }
            }
        }
    }

    fn execute(&mut self, plain: bool) {
        let source = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if source.is_empty() {
            self.seen.lock().expect("not poisoned").soft_resets += 1;
        }
        {
            let mut seen = self.seen.lock().expect("not poisoned");
            if plain { seen.plain.push(source.len()) } else { seen.pasted.push(source.len()) }
        }
        match self.options.lapse.take_if(|(text, _)| source.contains(*text)) {
            Some((_, Lapse::Unheard)) => return,
            Some((_, Lapse::Late)) => self.say(READY.as_bytes()),
            Some((_, Lapse::Accepted)) => return self.say(b"OK"),
            Some((_, Lapse::HangsUp)) => {
                self.hung_up = true;
                return;
            }
            None => {}
        }
        if let Some((_, aloud)) = self.options.restart_at.take_if(|(text, _)| source.contains(*text)) {
            self.raw = false;
            (self.tools, self.calmed) = (false, false);
            if aloud {
                self.say(b"\x8c\xff\x04>");
                self.say(STARTED.as_bytes());
            }
            return;
        }
        if self.options.exchange_at.take_if(|text| source.contains(*text)).is_some() {
            self.mac = "5c:cf:7f:00:00:02";
        }
        let noise = self.options.noise;
        if plain {
            self.say(format!("{noise}OK{noise}").as_bytes());
        }
        let after = self.options.says_after.take_if(|(text, _)| source.contains(*text)).map_or("", |(_, said)| said);
        match self.answer(&source) {
            Ok(line) => self.say(format!("{line}\r\n{noise}\x04\x04>{after}").as_bytes()),
            Err(error) => self.say(format!("{noise}\x04Traceback (most recent call last):\r\n{error}\r\n\x04>").as_bytes()),
        }
    }

    /// What the piece prints, or its exception.
    fn answer(&mut self, source: &str) -> Result<String, String> {
        if source == "import machine;machine.reset()" {
            self.seen.lock().expect("not poisoned").ran.push(source.to_owned());
            return Ok(String::new());
        }
        let (word, piece) = if let Some(rest) = source.strip_prefix("E('") {
            let (word, rest) = rest.split_once("','").ok_or("SyntaxError: invalid syntax")?;
            let (seal, rest) = rest.split_once("','''").ok_or("SyntaxError: invalid syntax")?;
            let piece = rest.strip_suffix("''')").ok_or("SyntaxError: invalid syntax")?;
            if !self.tools {
                return Err("NameError: name 'E' is not defined".to_owned());
            }
            if seal != sealed(format!("{}{piece}", self.mac).as_bytes()) {
                let not_run = format!("!{}", self.mac);
                return Ok(format!("Q{word}:{not_run}:{}:Z", sealed(not_run.as_bytes())));
            }
            (word.to_owned(), piece.to_owned())
        } else {
            let at = source.rfind("print('Q").ok_or("SyntaxError: invalid syntax")?;
            (source[at + 8..].split([':', '\'']).next().unwrap_or_default().to_owned(), source.to_owned())
        };
        self.seen.lock().expect("not poisoned").ran.push(piece.clone());
        let first = self.options.says_first.as_mut().filter(|(left, text, _)| *left > 0 && piece.contains(*text));
        let first = first.map(|(left, text, answer)| {
            *left -= 1;
            (*text, *answer)
        });
        let given = first.or(self.options.says.iter().find(|(text, _)| piece.contains(text)).copied()).map(|(_, answer)| answer);
        if let Some(error) = given.filter(|answer| answer.contains("Error")) {
            return Err(error.to_owned());
        }
        let answer = match (given, piece.as_str()) {
            (Some(given), _) => given.to_owned(),
            (_, text) if text.contains("interruptCounter") && self.options.other => "no".to_owned(),
            (_, text) if text.contains("interruptCounter") => {
                self.calmed |= text.contains("import control");
                if !self.calmed {
                    return Err("NameError: name 'c' is not defined".to_owned());
                }
                self.tick += 1;
                self.tick.min(120).to_string()
            }
            (_, text) if text.contains("WLAN") => {
                let version = if self.options.paste == Paste::Old { "1.9" } else { "1.27" };
                let said = format!("{}|{version}|v1.9.3-548", self.mac);
                format!("{said}#{said}")
            }
            (_, text) if text.contains("def E(") => {
                self.tools = true;
                "ok".to_owned()
            }
            (_, text) if text.contains("def R(") || text.contains("if not Q(C)") => "ok".to_owned(),
            (_, "r=V()\n") => self.found(),
            (_, "r=X(R(C))\n") => WRITTEN.to_owned(),
            (_, text) if text.starts_with("u=") => {
                let (at, data) = text.trim_end().trim_end_matches("')").split_once("ub.a2b_base64(b'").expect("a piece of it");
                let at = at.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
                let further = &mut self.seen.lock().expect("not poisoned").further;
                further.truncate(at);
                further.extend(BASE64.decode(data.as_bytes()).expect("is base64"));
                String::new()
            }
            (_, text) if text.starts_with("if u:") => {
                self.extended = true;
                String::new()
            }
            (_, text) if text.starts_with("import setting,") => {
                let said = format!("0|{WRITTEN}");
                format!("{said}#{said}")
            }
            (_, text) if text.starts_with("r=W(") => {
                let values = text.split('"').skip(1).step_by(2).map(str::to_owned).collect();
                self.seen.lock().expect("not poisoned").values = Some(values);
                self.found()
            }
            (_, text) if text.starts_with("if hasattr(c") => "ok".to_owned(),
            _ => String::new(),
        };
        let tail = if source.starts_with("E('") { format!(":{}", sealed(answer.as_bytes())) } else { String::new() };
        Ok(format!("Q{word}:{answer}{tail}:Z"))
    }

    /// What it finds in its flash.
    fn found(&self) -> String {
        let seen = self.seen.lock().expect("not poisoned");
        let hash = self.extended.then(|| hash_of_values(&seen.further));
        seen.values.iter().flatten().chain(&hash).cloned().collect::<Vec<_>>().join("|")
    }
}

fn sealed(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes)[..4])
}

/// Of plain values, as the button writes a list.
fn hash_of_values(further: &[u8]) -> String {
    let [_, values]: [Vec<serde_json::Value>; 2] = serde_json::from_slice(further).expect("two lists");
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    HEXLOWER.encode(&Sha256::digest(format!("[{}]", values.join(", "))))
}
