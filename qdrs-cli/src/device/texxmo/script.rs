//! What the button is told to run: small pieces of Python, each sealed, so that a garbled one does nothing.
//!
//! A [`Script::Bare`] one runs as it is; it must harm nothing, whatever the line makes of it. A [`Script::Sealed`] one
//! goes with a piece of the SHA-256 of the board's MAC and itself to [`TOOLS`]' `E` on the device, which runs it only when
//! it came whole and is for this very board: one that kept its power and our helpers may have been put in the place of
//! another. It answers with a piece of the answer's SHA-256. Every piece can be run twice.
//!
//! The button's memory is small: no piece is longer than `SOURCE_BYTES_MAX`. Names are short
//! since each byte crosses the wire; what they mean stands beside them. No two names of files or variables that matter
//! are one flipped bit apart.
//!
//! Source: the button's firmware (MicroPython at d12483d: `uhashlib` has no `hexdigest`, `open` no `encoding`).

use data_encoding::{BASE64, HEXLOWER};
use qdrs_core::connection_string::DeviceConnectionString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The longest source sent at once, in bytes: the button needs one piece of memory for it, and several times that to
/// compile it. A test holds every piece to it.
pub(super) const SOURCE_BYTES_MAX: usize = 400;
/// The longest that a credential's three values may be together, in bytes, so that the piece with them fits.
pub(super) const VALUES_BYTES_MAX: usize = 320;

/// How much of the further settings goes in one piece, in bytes; in base64 they are four thirds of that.
const FURTHER_BYTES_MAX: usize = 252;

/// With what [`TOOLS`]' answer begins to a piece that did not come whole, or is for another board; its own MAC follows.
const NOT_RUN: &[u8] = b"!";

/// [`CALM`], and what it does before it replaces anything.
macro_rules! calm {
    ($keep:literal) => {
        concat!(
            "try:\n import control as c,setting\n",
            $keep,
            " c.print=lambda *a:None;c.shutdown=lambda *a:print()\n",
            " if c.interruptCounter<119:c.interruptCounter=119\n",
            " r=str(c.interruptCounter)\n",
            "except (ImportError,AttributeError):r='no'\n",
            "print('Q$:'+r+':Z')",
        )
    };
}

/// Stops the timer at its next tick, before it can save over our settings or switch off, and silences it. Nothing is
/// replaced that the timer does not look up at that moment. The last that it does is an empty line, so that nobody has
/// to ask again and again whether it is dead. Without the timer's program: is there no button?
///
/// Answers `no` (not the button's firmware), or the tick at which the timer stands.
pub(super) const CALM: &str = calm!("");

/// The same for a button that goes on afterwards: it keeps what it replaces, for [`RESTORE`].
pub(super) const CALM_FOR_NOW: &str = calm!(" if not hasattr(c,'q'):c.q=c.shutdown\n");

/// What [`CALM`] answers where there is no button.
pub(super) const NO_BUTTON: &[u8] = b"no";

/// The least tick that [`CALM`] answers: the next one is the timer's last.
pub(super) const TICK_LAST: u32 = 119;

/// What [`CALM`] answers when the timer is dead: it was, at this tick.
pub(super) const TICK_DEAD: u32 = 120;

/// At which tick does the timer stand?
pub(super) const TICK: &str = "print('Q$:'+str(c.interruptCounter)+':Z')";

/// Who are you? Twice the same, since nothing else guards this answer: MAC, version of MicroPython, firmware. `m` stays
/// the MAC.
pub(super) const WHO: &str = "\
import network,sys,ubinascii as ub,uos as os
m=ub.hexlify(network.WLAN().config('mac'),':').decode()
r=m+'|%d.%d|'%sys.implementation[1][:2]+os.uname()[3]
print('Q$:'+r+'#'+r+':Z')";

/// `X`: the hash of bytes. `E`: runs a sealed piece; what that leaves in `r` is the answer. Needs what [`WHO`] imported.
/// No single flipped bit makes it run what is not sealed, or say that it ran what it did not: `==` would be a bit away
/// from `<=`, and `s` from `r`.
pub(super) const TOOLS: &str = "\
import uhashlib as hl,ujson as js
def X(t):return ub.hexlify(hl.sha256(t).digest()).decode()
def E(n,c,y):
 global r
 r='!'+m
 if X(m+y)[:8]in(c,):r='';exec(y)
 print('Q'+n+':'+r+':'+X(r)[:8]+':Z')
print('Q$:ok:Z')";

/// The names of the files and settings. `R`: a file's bytes. `V`: the three values as they stand in flash. `J`: a setting
/// as the file has it.
///
/// Answers [`SOUND`] when a write may follow: the settings are whole, the backup is the same, and nothing is left over of
/// an earlier one. Else [`REPAIR`] comes first.
pub(super) const READ: &str = "\
C='config.json';N=C+'.new';B=C+'.bak'
K='iothub','iotdevicename','iotdevicesecret'
def R(f):
 with open(f,'rb')as h:return h.read()
def V():
 d=js.loads(R(C));return'|'.join(str(d.get(k,''))for k in K)
def J(k,x):return('\"%s\": '%k+js.dumps(x)).encode()
try:
 a=js.loads(R(C))
 if K[0]in a and a==js.loads(R(B))and N not in os.listdir():r='ok'
except Exception:pass
a=0";

/// `W`: writes the settings, in this order. The new file: the text as it is, with the values replaced; only where that
/// does not give the wanted settings the whole text anew. Looks whether it holds what was written. Renames it, looks
/// again. Tells the program in memory, which may yet save what it has there. Answers what `V` finds. Run again, it finds
/// that all is written.
pub(super) const WRITE: &str = "\
def W(*v):
 t=R(C);d=js.loads(t)
 for k,x in zip(K,v):t=t.replace(J(k,d.get(k)),J(k,x));d[k]=x
 if js.loads(t)!=d:t=js.dumps(d).encode()
 if t!=R(C):
  if len(t)>4096:return'long'
  with open(N,'wb')as h:h.write(t)
  if R(N)!=t:return'new'
  os.rename(N,C)
  if R(C)!=t:return'cfg'
 try:setting.setting.update(zip(K,v))
 except AttributeError:pass
 return V()";

/// What [`READ`] and [`REPAIR`] answer when all is as it should be.
pub(super) const SOUND: &[u8] = b"ok";

/// What [`REPAIR`] needs. `Q`: the settings in a file, nothing if there are none; a button without memory to look fails
/// here, and takes no settings for lost. `S`: writes a file as another one; does it hold something else afterwards?
pub(super) const COMPARE: &str = "\
def Q(f):
 try:return dict(js.loads(R(f)))
 except(OSError,ValueError,TypeError):return{}
def S(f,g):
 t=R(g)
 with open(f,'wb')as h:h.write(t)
 return R(f)!=t";

/// Repairs what an earlier cut left. A rename is removing, then renaming, so there may be a whole new file and no
/// settings; and before the next rename there must be a backup that a boot in that moment can fall back on. Settings that
/// are there and torn were not torn by us: then a new file is the rest of some visit, and the backup counts.
///
/// Answers [`SOUND`], `lost` when there is neither, or `bak` or `new` when a file does not hold what was written to it.
pub(super) const REPAIR: &str = "\
for f in(B,N)if C in os.listdir()else(N,B):
 if not Q(C)and Q(f):
  if f==B and S(N,B):r='new'
  else:os.rename(N,C)
if not Q(C):r=r or'lost'
elif Q(B)!=Q(C)and S(B,C):r='bak'
else:
 if N in os.listdir():os.remove(N)
 r='ok'";

/// Takes the further settings that [`further`] has sent: their names follow those of the credential, so that `W` writes
/// them, too. `V` answers the hash of their values as well.
pub(super) const EXTEND: &str = "\
if u:
 M=js.loads(u);K=K[:3]+tuple(M[0]);u=b''
def V():
 d=js.loads(R(C));v=[d.get(k,'')for k in K]
 return'|'.join([str(x)for x in v[:3]])+'|'+X(js.dumps(v[3:]))";

/// The hash of the settings as they stand in flash.
pub(super) const HASH: &str = "r=X(R(C))";

/// Puts back what [`CALM_FOR_NOW`] has replaced. The timer stays dead.
pub(super) const RESTORE: &str = "\
if hasattr(c,'q'):c.print,c.shutdown=print,c.q;del c.q
r='ok'";

/// Starts the button anew.
pub(super) const RESET: &str = "import machine;machine.reset()";

/// With which settings did you start? Twice the same, since nothing else guards this answer: how many differ between the
/// program's memory and the file, without those that the timer measures, and the file's hash.
pub(super) const STARTED: &str = "\
import setting,ujson,uhashlib,ubinascii
with open('config.json','rb') as h:t=h.read()
f=ujson.loads(t);d=setting.setting
n=[k for k in f if d.get(k)!=f[k] and k not in('hwid','RSSI','VBat','keypresses')]
r='%d|'%len(n)+ubinascii.hexlify(uhashlib.sha256(t).digest()).decode()
print('Q$:'+r+'#'+r+':Z')";

/// Switches off; whether the answer still gets out depends on who feeds the button.
pub(super) const POWER_OFF: &str = "c.power.value(0)";

/// A piece, and how its answer is guarded.
#[derive(Clone, Copy)]
pub(super) enum Script<'a> {
    /// Runs as it comes; has `$` where the answer's word goes.
    Bare(&'a str),
    /// Runs when it came whole.
    Sealed(&'a str),
}

impl Script<'_> {
    /// The source for the board with this MAC, with the word that its answer begins with.
    pub(super) fn source(self, word: &str, board: &str) -> Zeroizing<String> {
        Zeroizing::new(match self {
            Self::Bare(text) => text.replace('$', word),
            // A line's end, so that no quote of the piece joins those around it.
            Self::Sealed(text) => {
                let sealed = Zeroizing::new(format!("{board}{text}\n"));
                format!("E('{word}','{}','''{text}\n''')", seal(sealed.as_bytes()))
            }
        })
    }

    /// What stands in an answer's fence, from the board with this MAC.
    pub(super) fn open<'f>(self, fenced: &'f [u8], board: &str) -> Opened<'f> {
        if matches!(self, Self::Bare(_)) {
            return Opened::Answer(fenced);
        }
        let Some((answer, tail)) = fenced.len().checked_sub(9).map(|at| fenced.split_at(at)) else { return Opened::Garbled };
        if tail.strip_prefix(b":") != Some(seal(answer).as_bytes()) {
            return Opened::Garbled;
        }
        match answer.strip_prefix(NOT_RUN) {
            Some(said) if said == board.as_bytes() => Opened::Garbled,
            // No other answer is as long as a MAC and begins so.
            Some(said) if said.len() == board.len() => Opened::OtherBoard,
            _ => Opened::Answer(answer),
        }
    }
}

/// What an answer is worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened<'a> {
    /// It came whole.
    Answer(&'a [u8]),
    /// It, or the piece, did not.
    Garbled,
    /// Another board, which was told the same helpers before, did not run the piece.
    OtherBoard,
}

/// The first bytes of the hash, as the device writes them.
fn seal(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..4])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// `W` with the credential, and with what [`EXTEND`] took if that was sent. The values have been checked to be plain
/// ([`plain`]).
pub(super) fn write_values(credential: &DeviceConnectionString, extended: bool) -> Zeroizing<String> {
    let (key, more) = (credential.key.to_base64(), if extended { ",*M[1]" } else { "" });
    Zeroizing::new(format!(r#"r=W("{}","{}","{}"{more})"#, credential.host_name, credential.device_id, *key))
}

/// The pieces that leave these bytes in `u`, each at its place however often it is run.
pub(super) fn further(bytes: &[u8]) -> impl Iterator<Item = Zeroizing<String>> {
    bytes.chunks(FURTHER_BYTES_MAX).enumerate().map(|(at, chunk)| {
        let before = if at == 0 { String::new() } else { format!("u[:{}]+", at * FURTHER_BYTES_MAX) };
        let mut piece = Zeroizing::new(String::with_capacity(SOURCE_BYTES_MAX));
        piece.push_str(&format!("u={before}ub.a2b_base64(b'"));
        BASE64.encode_append(chunk, &mut piece);
        piece.push_str("')");
        piece
    })
}

/// Can the text stand in a piece, in double quotes within triple single ones? `|` parts the answer to `V`.
pub(super) fn plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\|".contains(&byte)) && !text.contains("'''")
}

#[cfg(test)]
mod tests {
    use qdrs_core::connection_string::DeviceKey;

    use super::*;

    const BOARD: &str = "5c:cf:7f:00:00:01";

    #[test]
    fn every_piece_fits_the_buttons_memory() {
        for text in [CALM, CALM_FOR_NOW, TICK, WHO, TOOLS, RESET, STARTED] {
            let source = Script::Bare(text).source("ffff", BOARD);
            assert!(source.len() <= SOURCE_BYTES_MAX && source.is_ascii(), "{} bytes: {text}", source.len());
        }
        for text in [READ, WRITE, COMPARE, REPAIR, EXTEND, HASH, RESTORE, POWER_OFF] {
            let source = Script::Sealed(text).source("ffff", BOARD);
            assert!(source.len() <= SOURCE_BYTES_MAX && source.is_ascii(), "{} bytes: {text}", source.len());
            assert!(!text.contains("'''") && !text.contains('\\') && !text.contains('$'));
        }
        let host = "h".repeat(VALUES_BYTES_MAX - 128 - 44);
        let longest = DeviceConnectionString { host_name: host, device_id: "d".repeat(128), key: DeviceKey::generate() };
        assert!(Script::Sealed(&write_values(&longest, true)).source("ffff", BOARD).len() <= SOURCE_BYTES_MAX);
        for piece in further(&[0xff; 9999]) {
            assert!(
                Script::Sealed(&piece).source("ffff", BOARD).len() <= SOURCE_BYTES_MAX
                    && !piece.contains('\''.to_string().repeat(3).as_str())
            );
        }
    }

    #[test]
    fn a_sealed_answer_opens_when_it_is_whole() {
        let script = Script::Sealed("");
        let fenced = format!("ok:{}", seal(b"ok"));
        assert_eq!(script.open(fenced.as_bytes(), BOARD), Opened::Answer(b"ok"));
        for wrong in ["", "ok", ":", "oj:", &fenced.replace("ok", "oj"), &fenced[..fenced.len() - 1]] {
            assert_eq!(script.open(wrong.as_bytes(), BOARD), Opened::Garbled, "{wrong}");
        }
    }

    #[test]
    fn a_piece_is_sealed_for_one_board() {
        let other = "5c:cf:7f:00:00:02";
        assert_ne!(*Script::Sealed("r=V()").source("1", BOARD), *Script::Sealed("r=V()").source("1", other));
        let not_run = |board: &str| format!("!{board}:{}", seal(format!("!{board}").as_bytes()));
        assert_eq!(Script::Sealed("").open(not_run(BOARD).as_bytes(), BOARD), Opened::Garbled);
        assert_eq!(Script::Sealed("").open(not_run(other).as_bytes(), BOARD), Opened::OtherBoard);
        // A value may begin so, too.
        assert_eq!(Script::Sealed("").open(not_run("no MAC").as_bytes(), BOARD), Opened::Answer(b"!no MAC"));
    }

    #[test]
    fn what_would_end_the_quotes_is_not_plain() {
        assert!(plain("QD-0041713") && plain("it's") && plain("a:b.c+%_#*?!(),=@$"));
        for text in ["a\"b", "a\\b", "a'''b", "a|b", "a b", "a\nb", "ä"] {
            assert!(!plain(text), "{text}");
        }
    }
}
