//! The traps of the IoT Button, one by one, on a real MicroPython: each test fails without what the driver does about it.
//!
//! No cloud and no station here: the driver itself, at a practice button whose flash is as bad as can be. The table of
//! traps in `samples/practice-button/README.md` names them all, with those that are tested elsewhere.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use qdrs_cli::device::{DeviceError, Why, wire::raw_repl::Step};
use qdrs_core::{
    api::Code,
    connection_string::{DeviceConnectionString, DeviceKey},
    explain::Explain,
};
use qdrs_tests::{
    Button, Hand, Line, LineOptions, connection_string, driver_at, factory_settings, others, repository,
    settings_that_a_boot_would_load,
};
use tempfile::TempDir;
use tracing_subscriber::filter::LevelFilter;

/// A second of the board is this long here, in ms, unless a trap needs another.
const SECOND: &str = "50";
/// So long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The settings of a unit that was in use: unknown keys, another order, `0.00`, quotes and letters escaped.
const USED: &str = r#"{"zz": [1, {"a": null}], "VBat": 0.00, "iotdevicesecret": "", "userjson": "{\"iothub\": \"\"}", "name": "\u00e4", "iothub": "", "RSSI": 31, "iotdevicename": "teXXmobutton_000000000000"}"#;
const TORN: &str = r#"{"VBat": 0.00, "ioth"#;

/// A board's flash, before it is switched on: these files and no others.
struct Flash(TempDir);

impl Flash {
    fn of(files: &[(&str, &str)]) -> Self {
        let flash = Self(tempfile::tempdir().expect("a folder"));
        fs::create_dir_all(flash.path()).expect("the flash is made");
        for (name, text) in files {
            flash.write(name, text);
        }
        flash
    }

    /// As from the factory; it never booted, so it has no backup.
    fn fresh() -> Self {
        Self::of(&[("config.json", &factory_text())])
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("slot-1/board-1")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("the file is written");
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path().join(name)).ok()
    }

    /// Switches the board on.
    fn boots(&self, options: &[&str]) -> Button {
        Button::start(self.0.path(), &[&["--second", SECOND], options].concat())
    }

    /// What a boot would find of the credential, and of all else.
    fn holds(&self) -> Option<(Option<DeviceConnectionString>, qdrs_tests::Flash)> {
        let settings = settings_that_a_boot_would_load(&self.path())?;
        Some((connection_string(&settings), others(&settings)))
    }
}

fn factory_text() -> String {
    fs::read_to_string(repository().join("samples/practice-button/flash/config.json")).expect("the factory settings are there")
}

fn credential(device_id: &str) -> DeviceConnectionString {
    DeviceConnectionString {
        host_name: "hub.azure-devices.net".to_owned(),
        device_id: device_id.to_owned(),
        key: DeviceKey::generate(),
    }
}

/// The settings of a file with that credential in them.
fn with(text: &str, credential: &DeviceConnectionString) -> String {
    let key = credential.key.to_base64();
    let host = format!(r#""iothub": "{}""#, credential.host_name);
    text.replace(r#""iothub": """#, &host)
        .replace(r#""iotdevicesecret": """#, &format!(r#""iotdevicesecret": "{}""#, *key))
        .replace("teXXmobutton_000000000000", &credential.device_id)
}

/// A whole visit of the driver: identify, write, read back, finish.
fn visit(port: &str, credential: &DeviceConnectionString) -> Result<(), DeviceError> {
    let mut slot = driver_at(port);
    slot.identify()?;
    slot.write(credential)?;
    let found = slot.read_back()?.expect("holds it");
    assert_eq!(*found.reveal(), *credential.reveal());
    slot.finish()
}

/// A line on which all is kept that the button says.
fn listening() -> LineOptions {
    LineOptions { records: true, ..LineOptions::default() }
}

/// A visit that is cut: its line hangs up when the power fails, so that nobody waits for an answer. False if it passed.
fn is_cut(button: &mut Button, credential: &DeviceConnectionString) -> bool {
    let line = Line::to(button.port_name(), LineOptions::default(), "cut");
    let port = line.port_name();
    thread::scope(|scope| {
        let visit = scope.spawn(|| visit(&port, credential));
        while !visit.is_finished() {
            if button.power_failed() {
                line.hang_up();
            }
            thread::sleep(Duration::from_millis(3));
        }
        let visited = visit.join().expect("the driver ends");
        assert_eq!(visited.is_err(), button.power_failed(), "{visited:?}");
        visited.is_err()
    })
}

/// A visit that must pass, whatever the board's flash and options; all other settings are then those of `expected`.
fn passes(flash: &Flash, options: &[&str], expected: &str) {
    let new = credential("QD-0010003");
    let mut button = flash.boots(options);
    visit(button.port_name(), &new).unwrap_or_else(|error| panic!("{options:?}: {error}"));
    await_that("it switches off", || button.was_off());
    drop(button);
    assert_eq!(flash.read("config.json").as_deref(), Some(with(expected, &new).as_str()), "{options:?}");
    assert_eq!(flash.read("config.json.new"), None, "{options:?}");
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(3));
    }
}

/// What the board answers when it is asked by hand.
fn ask(hand: &mut Hand, value: &str) -> String {
    let answer = hand.ask(&format!("import control,machine,setting\nprint('Qa:'+str({value})+':Z')"));
    String::from_utf8(answer.fenced("a").expect("answers").to_vec()).expect("text")
}

/// Cuts the power before each step of the flash in turn, on the same flash made anew; after each cut what a boot would
/// load must be right, and the next contact must pass.
fn cut_everywhere(files: &[(&str, &str)], right: impl Fn(&Option<DeviceConnectionString>) -> bool + Sync) {
    let each = |step: usize| {
        let flash = Flash::of(files);
        let new = credential("QD-0010003");
        let mut button = flash.boots(&["--cut-op", &step.to_string()]);
        let was_cut = is_cut(&mut button, &new);
        drop(button);
        let (holds, _) = flash.holds().unwrap_or_else(|| panic!("step {step}: neither old nor new"));
        let is_new = holds.as_ref().is_some_and(|holds| *holds.reveal() == *new.reveal());
        assert!(is_new || right(&holds), "step {step}: {holds:?}");
        let new = credential("QD-0010003");
        let button = flash.boots(&[]);
        visit(button.port_name(), &new).unwrap_or_else(|error| panic!("after step {step}: {error}"));
        drop(button);
        assert_eq!(flash.read("config.json.new"), None, "after step {step}");
        was_cut
    };
    // From the first step after the boot's own two until nothing is cut any more.
    let steps: Vec<bool> = thread::scope(|scope| {
        let each = &each;
        let stories: Vec<_> = (3..=12).map(|step| scope.spawn(move || each(step))).collect();
        stories.into_iter().map(|story| story.join().expect("the story holds")).collect()
    });
    assert!(steps[0] && !steps[9], "the steps are not all there: {steps:?}");
}

#[test]
fn boot_noise_and_prints_and_leftovers_are_no_answers() {
    // Garbage with 0x04 and `>` in it, `Start Timer` before the banner, and lines between and inside the answers.
    for seed in ["1", "2", "3"] {
        passes(&Flash::fresh(), &["--noise", "--seed", seed, "--second", "20"], &factory_text());
    }
    let flash = Flash::fresh();
    let button = flash.boots(&[]);
    let hand = Hand::at_raw_prompt(button.port_name());
    hand.leave_with("print('left over', (1,");
    visit(button.port_name(), &credential("QD-0010003")).expect("passes");
}

#[test]
fn a_slow_start_is_waited_for_and_its_late_prompts_are_no_answers() {
    // Each of the prompts that it was asked for while it started comes by itself, long after the one before.
    let flash = Flash::fresh();
    let mut button = flash.boots(&["--boot", "4000", "--lag", "150"]);
    button.cut();
    await_that("its power fails", || button.power_failed());
    // The connection switches it on.
    visit(button.port_name(), &credential("QD-0010003")).expect("passes");
}

#[test]
fn raw_paste_is_used_where_there_is_one() {
    passes(&Flash::fresh(), &["--firmware", "new"], &factory_text());
}

#[test]
fn a_board_that_restarts_between_two_steps_is_told_nothing() {
    let flash = Flash::fresh();
    let mut button = flash.boots(&[]);
    let line = Line::to(button.port_name(), listening(), "restart");
    let mut slot = driver_at(&line.port_name());
    slot.identify().expect("is a button");
    button.cut();
    await_that("its power fails", || button.power_failed());
    button.press();
    await_that("it has restarted", || line.heard().matches("information.\r\n>>> ").count() == 2);
    let error = slot.write(&credential("QD-0010003")).expect_err("has restarted");
    assert_eq!((error.code(), error.touched()), (Code::DeviceGone, false), "{error}");
    drop(slot);
    drop(button);
    assert_eq!(flash.read("config.json"), Some(factory_text()));
}

#[test]
fn nothing_that_the_program_does_by_the_second_undoes_a_write() {
    // Held: left alone it would save at the tenth tick, and it switches off at the first.
    let flash = Flash::fresh();
    let new = credential("QD-0010003");
    let mut button = flash.boots(&["--held", "--second", "1000"]);
    let mut slot = driver_at(button.port_name());
    slot.identify().expect("is a button");
    slot.write(&new).expect("is written");
    drop(slot);

    let mut hand = Hand::at_raw_prompt(button.port_name());
    assert_eq!(ask(&mut hand, "machine.Timer._callback"), "None", "the timer ticks on");
    assert_eq!(ask(&mut hand, "control.interruptCounter"), "120");
    // Whatever else may still call it: it neither switches off nor saves.
    assert_eq!(ask(&mut hand, "control.shutdown()"), "None");
    assert_eq!(ask(&mut hand, "control.power.value()"), "1");
    // And whoever saves what is in memory, saves the new settings.
    assert_eq!(ask(&mut hand, "setting.save('config.json')"), "None");
    // Its timer stopped, a soft reset does no harm.
    hand.repl.expect_answer();
    hand.send(&[4]);
    assert_eq!([hand.step(), hand.step(), hand.step()], [Step::Accepted, Step::Restarted, Step::Ready]);
    assert!(!button.was_off());
    drop(hand);
    drop(button);
    let (holds, _) = flash.holds().expect("would boot");
    assert_eq!(*holds.expect("holds it").reveal(), *new.reveal());
}

/// Everything that is logged, at any level, by the other tests here as well.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> Self {
        let log = Self::default();
        let kept = log.clone();
        // For all threads: what another thread has found to interest nobody is not looked at again for one.
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(move || kept.clone()).init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("not poisoned")).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_held_button_says_of_its_token_is_not_repeated() {
    // Held at its first tick it sends its message, and says host, id and token aloud; then it switches off.
    let held = credential("QD-0010003");
    let flash = Flash::of(&[("config.json", &with(&factory_text(), &held))]);
    let mut button = flash.boots(&["--held"]);
    let (log, says) = (Log::begin(), "SharedAccessSignature");
    let error = {
        let line = Line::to(button.port_name(), listening(), "held");
        let mut slot = driver_at(&line.port_name());
        await_that("it switches off", || button.was_off());
        await_that("it says its token", || line.heard().contains(says));
        thread::scope(|scope| {
            let identify = scope.spawn(|| slot.identify().expect_err("is off"));
            await_that("it was heard, and asked again", || line.to_device() > 1);
            // Or it would be waited for, since it may be deaf.
            line.hang_up();
            identify.join().expect("the driver ends")
        })
    };
    drop(button);
    let new = credential("QD-0010003");
    let button = flash.boots(&[]);
    visit(button.port_name(), &new).expect("passes when it is not held");
    let text = format!("{error} {error:?} {} {}", error.help(), log.text());
    assert!(text.contains("a device has come"), "it logs nothing: {text}");
    for secret in [says, "bm90LWEtc2VjcmV0", held.key.to_base64().as_str(), new.key.to_base64().as_str()] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_program_that_loads_its_settings_anew_has_the_new_ones_in_memory_too() {
    // `setting.load` makes a new dict: who kept the old one changes nothing.
    let flash = Flash::fresh();
    let control = fs::read_to_string(repository().join("samples/practice-button/flash/control.py")).expect("is there");
    let loads =
        "\n_tick=handleInterrupt\ndef handleInterrupt(t):\n _tick(t)\n if interruptCounter>=120:setting.load('config.json')\n";
    flash.write("control.py", &(control + loads));
    let new = credential("QD-0010003");
    let button = flash.boots(&[]);
    let mut slot = driver_at(button.port_name());
    slot.identify().expect("is a button");
    slot.write(&new).expect("is written");
    drop(slot);
    let mut hand = Hand::at_raw_prompt(button.port_name());
    assert_eq!(ask(&mut hand, "setting.setting['iotdevicename']"), "QD-0010003");
    assert_eq!(ask(&mut hand, "setting.setting['VBat']"), "0.0", "the rest is as it was loaded");
}

#[test]
fn the_button_is_not_reset_while_its_timer_runs() {
    let flash = Flash::fresh();
    let button = flash.boots(&[]);
    {
        let line = Line::to(button.port_name(), listening(), "no reset");
        visit(&line.port_name(), &credential("QD-0010003")).expect("passes");
        let heard = line.heard();
        assert!(heard.contains("Start Timer") && !heard.contains("soft reboot") && !heard.contains("Fatal"), "{heard}");
    }
    drop(button);
    // What it avoids: the same reset by hand.
    let flash = Flash::fresh();
    let button = flash.boots(&["--second", "1000"]);
    let line = Line::to(button.port_name(), listening(), "a reset");
    let mut hand = Hand::at_raw_prompt(&line.port_name());
    hand.send(&[4]);
    await_that("it crashes", || line.heard().contains("Fatal exception"));
}

#[test]
fn a_program_that_was_interrupted_before_it_began_is_no_obstacle() {
    for main in ["import control\nraise KeyboardInterrupt", "raise KeyboardInterrupt"] {
        let flash = Flash::fresh();
        flash.write("main.py", main);
        passes(&flash, &[], &factory_text());
    }
}

#[test]
fn other_firmware_is_named_and_left_alone() {
    let flash = Flash::fresh();
    flash.write("main.py", "");
    flash.write("control.py", "raise ImportError");
    let button = flash.boots(&[]);
    let error = visit(button.port_name(), &credential("QD-0010003")).expect_err("is no button");
    assert!(matches!(error.why, Why::OtherDevice { .. }) && !error.touched(), "{error}");
    drop(button);
    assert_eq!((flash.read("config.json"), flash.read("config.json.bak")), (Some(factory_text()), None));
}

#[test]
fn a_deaf_button_is_waited_for() {
    // Met at its fifteenth tick, when it looks for its network.
    let flash = Flash::fresh();
    let button = flash.boots(&["--second", "100"]);
    let line = Line::to(button.port_name(), listening(), "deaf");
    let hand = Hand::at(&line.port_name());
    await_that("it is deaf", || line.heard().contains("Repair Time"));
    drop(hand);
    let begun = Instant::now();
    visit(&line.port_name(), &credential("QD-0010003")).expect("passes");
    assert!(begun.elapsed() > Duration::from_millis(1200), "it was not deaf");
}

#[test]
fn while_it_runs_it_is_sent_no_more_than_it_holds() {
    let flash = Flash::fresh();
    let button = flash.boots(&["--run-ms", "60"]);
    let options = LineOptions { baud: Some(115_200), overruns: true, ..LineOptions::default() };
    let line = Line::to(button.port_name(), options, "overrun");
    visit(&line.port_name(), &credential("QD-0010003")).expect("passes");
    assert_eq!(line.lost(), 0);
}

#[test]
fn a_lost_file_system_is_recognised() {
    let flash = Flash::fresh();
    let button = flash.boots(&["--corrupt"]);
    let error = visit(button.port_name(), &credential("QD-0010003")).expect_err("is lost");
    assert!(matches!(error.why, Why::FilesLost { .. }) && error.help().contains("flash"), "{error}");
}

/// Tries each single flipped bit of the helpers in `t`: does `E` run a piece whose seal is wrong, or say that it ran what it
/// did not? One position a call, since the button takes only short source.
const FLIPPED: &str = "\
def F(i):
 found=[]
 for bit in range(8):
  b=bytearray(t.encode());b[i]^=1<<bit
  if 4<b[i]<128:
   hits,out=[],[]
   g={'ub':ub,'hl':hl,'js':js,'m':m,'hit':lambda:hits.append(1),'print':lambda *a:out.append(a[0])}
   try:exec(bytes(b).decode(),g);E=g['E']
   except Exception:continue
   for seal in('0'*8,'f'*8,X(m+'hit()')[:8]):
    del hits[:];del out[:]
    try:E('1',seal,'hit()')
    except Exception:continue
    ran=len(hits)
    if ran and seal in('0'*8,'f'*8)or not ran and out and out[-1]=='Q1::'+X('')[:8]+':Z':found.append(bit)
 return found";

#[test]
fn no_flipped_bit_of_the_helpers_undoes_the_seal() {
    let flash = Flash::fresh();
    let button = flash.boots(&[]);
    let line = Line::to(button.port_name(), listening(), "helpers");
    let mut slot = driver_at(&line.port_name());
    slot.identify().expect("is a button");
    slot.write(&credential("QD-0010003")).expect("is written");
    let told: Vec<u8> = line.record().into_iter().filter(|piece| piece.to_device).flat_map(|piece| piece.bytes).collect();
    let told = String::from_utf8_lossy(&told);
    drop(slot);
    drop(line);
    let helpers = told.find("def X(").map(|from| &told[from..]).and_then(|rest| Some(&rest[..rest.find("\nprint(")?]));
    let helpers = helpers.expect("they were sent");
    let mut hand = Hand::at_raw_prompt(button.port_name());
    assert!(!hand.ask(&format!("t='''{helpers}\n'''")).failed() && !hand.ask(FLIPPED).failed());
    for at in 0..helpers.len() {
        let answer = hand.ask(&format!("print('Qa:'+str(F({at}))+':Z')"));
        assert_eq!(answer.fenced("a"), Some(&b"[]"[..]), "bits of byte {at}: {:?}", &helpers[at..]);
    }
}

#[test]
fn the_longest_credential_fits_the_buttons_memory() {
    let host_name = format!("{}.azure-devices.net", "h".repeat(50));
    for bytes in [32, 64] {
        let key = DeviceKey::from_base64(&data_encoding::BASE64.encode(&vec![0xff; bytes])).expect("a key");
        let longest = DeviceConnectionString { host_name: host_name.clone(), device_id: "d".repeat(128), key };
        let flash = Flash::fresh();
        let button = flash.boots(&[]);
        visit(button.port_name(), &longest).expect("passes");
        drop(button);
        let (holds, _) = flash.holds().expect("would boot");
        assert_eq!(*holds.expect("holds it").reveal(), *longest.reveal());
    }
}

#[test]
fn other_settings_stay_byte_for_byte() {
    // The boot wrote a backup with `0.0`, all the same `config.json` keeps its `0.00`.
    passes(&Flash::of(&[("config.json", USED)]), &[], USED);
}

#[test]
fn settings_that_lack_a_key_or_are_written_otherwise_get_all_three() {
    for text in
        [r#"{"VBat": 2.9}"#, "{\"iothub\":\"\",\n \"VBat\":2.9}", r#"{"iothub": null, "VBat": 2.9, "iotdevicesecret": 7}"#]
    {
        let flash = Flash::of(&[("config.json", text)]);
        let new = credential("QD-0010003");
        let button = flash.boots(&[]);
        visit(button.port_name(), &new).unwrap_or_else(|error| panic!("{text}: {error}"));
        drop(button);
        let (holds, rest) = flash.holds().expect("would boot");
        assert_eq!(*holds.expect("holds it").reveal(), *new.reveal());
        assert_eq!(serde_json::Value::from(rest), serde_json::json!({ "VBat": 2.9 }), "{text}");
    }
}

#[test]
fn settings_that_would_grow_too_long_are_left_alone() {
    let text = USED.replace("null", &format!("\"{}\"", "x".repeat(3_820)));
    let flash = Flash::of(&[("config.json", &text)]);
    let button = flash.boots(&[]);
    let error = visit(button.port_name(), &credential(&"d".repeat(128))).expect_err("too long");
    assert!(matches!(error.why, Why::SettingsTooLong { .. }), "{error}");
    drop(button);
    assert_eq!((flash.read("config.json"), flash.read("config.json.new")), (Some(text), None));
}

#[test]
fn a_button_that_never_booted_gets_a_backup_before_the_rename() {
    // Its program was interrupted before it could write one. Inside the rename there are no settings but those.
    let flash = Flash::fresh();
    flash.write("main.py", "raise KeyboardInterrupt");
    let mut button = flash.boots(&["--cut-in-rename", "before"]);
    assert!(is_cut(&mut button, &credential("QD-0010003")));
    drop(button);
    assert_eq!(flash.read("config.json"), None);
    assert_eq!(flash.holds().expect("would boot"), (None, others(&factory_settings())));
    fs::remove_file(flash.path().join("main.py")).expect("is there");
    passes(&flash, &[], &factory_text());
}

#[test]
fn a_cut_at_any_step_leaves_old_or_new() {
    cut_everywhere(&[("config.json", &factory_text())], Option::is_none);
}

#[test]
fn a_file_of_an_earlier_visit_is_never_taken_for_settings() {
    let stale = credential("QD-0099999");
    let old = with(&factory_text(), &stale);
    let never = |holds: &Option<DeviceConnectionString>| holds.is_none();
    cut_everywhere(&[("config.json", &factory_text()), ("config.json.new", &old)], never);
    // The program was cut while it saved: its backup is what counts, not what some visit meant to write.
    let files = [("config.json", TORN), ("config.json.bak", &factory_text()), ("config.json.new", &old)];
    cut_everywhere(&files, never);
}

#[test]
fn a_file_of_an_earlier_visit_goes_even_when_there_is_nothing_to_write() {
    let written = credential("QD-0010003");
    let text = with(&factory_text(), &written);
    let flash = Flash::of(&[("config.json", &text), ("config.json.new", &factory_text())]);
    let button = flash.boots(&[]);
    visit(button.port_name(), &written).expect("passes");
    drop(button);
    assert_eq!((flash.read("config.json"), flash.read("config.json.new")), (Some(text), None));
}

#[test]
fn settings_that_are_lost_come_back_from_the_new_file_or_the_backup() {
    let earlier = credential("QD-0010003");
    let text = factory_text();
    let written = with(&text, &earlier);
    let is_earlier =
        |holds: &Option<DeviceConnectionString>| holds.as_ref().is_none_or(|holds| *holds.reveal() == *earlier.reveal());
    // Cut inside the rename; then the program's save was cut.
    cut_everywhere(&[("config.json.bak", &text), ("config.json.new", &written)], is_earlier);
    cut_everywhere(&[("config.json", TORN), ("config.json.bak", &text)], is_earlier);

    let new = credential("QD-0010010");
    for (files, wanted) in [
        (vec![("config.json.bak", USED)], USED),
        (vec![("config.json", ""), ("config.json.bak", USED)], USED),
        // Valid, and no settings: a boot takes it for good, and has nothing.
        (vec![("config.json", "{}"), ("config.json.bak", "{}"), ("config.json.new", USED)], USED),
        (vec![("config.json", "[1]"), ("config.json.bak", TORN), ("config.json.new", USED)], USED),
        (vec![("config.json", TORN), ("config.json.bak", TORN), ("config.json.new", USED)], USED),
    ] {
        let flash = Flash::of(&files);
        let button = flash.boots(&[]);
        visit(button.port_name(), &new).unwrap_or_else(|error| panic!("{files:?}: {error}"));
        drop(button);
        let (holds, rest) = flash.holds().expect("would boot");
        assert_eq!(*holds.expect("holds it").reveal(), *new.reveal(), "{files:?}");
        let wanted = serde_json::from_str(wanted).expect("settings");
        assert_eq!(rest, others(&wanted), "{files:?}");
    }
}

#[test]
fn a_button_short_of_memory_does_not_take_its_settings_for_lost() {
    let flash = Flash::of(&[("config.json", USED)]);
    let control = fs::read_to_string(repository().join("samples/practice-button/flash/control.py")).expect("is there");
    let short = "
import builtins
_open=open
def _short(name,mode='r'):
 if (name,mode)==('config.json','rb'):raise MemoryError
 return _open(name,mode)
builtins.open=_short
";
    flash.write("control.py", &(control + short));
    let button = flash.boots(&[]);
    let error = visit(button.port_name(), &credential("QD-0010003")).expect_err("can't be read");
    assert!(matches!(error.why, Why::Failed { .. }) && error.to_string().contains("MemoryError"), "{error}");
    assert!(!error.touched());
    drop(button);
    assert_eq!(flash.read("config.json").as_deref(), Some(USED), "{error}");
}

#[test]
fn when_nothing_is_left_it_says_so_and_writes_nothing() {
    for files in [
        vec![("config.json", TORN), ("config.json.bak", TORN)],
        vec![("config.json", "{}")],
        vec![("config.json.new", TORN)],
        vec![],
    ] {
        let flash = Flash::of(&files);
        let button = flash.boots(&[]);
        let error = visit(button.port_name(), &credential("QD-0010003")).expect_err("is lost");
        assert!(matches!(error.why, Why::SettingsLost { .. }) && !error.touched(), "{files:?}: {error}");
        drop(button);
        for name in ["config.json", "config.json.new"] {
            let before = files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned());
            assert_eq!(flash.read(name), before, "{files:?}");
        }
    }
}

#[test]
fn a_boot_cut_in_its_own_backup_is_covered_by_the_settings() {
    for step in ["1", "2"] {
        let flash = Flash::fresh();
        let new = credential("QD-0010003");
        let button = flash.boots(&[]);
        visit(button.port_name(), &new).expect("passes");
        drop(button);
        let mut button = flash.boots(&["--cut-op", step]);
        await_that("it is cut", || button.power_failed());
        drop(button);
        let (holds, _) = flash.holds().expect("would boot");
        assert_eq!(*holds.expect("holds it").reveal(), *new.reveal(), "step {step}");
        passes(&flash, &[], &factory_text());
    }
}

#[test]
fn a_cut_while_it_writes_and_another_in_the_next_boot_leave_the_old_settings() {
    // Written in place, the first would empty them, and the second the backup that the boot fell back on.
    for first in ["3", "4", "5"] {
        let flash = Flash::fresh();
        let mut button = flash.boots(&["--cut-op", first]);
        assert!(is_cut(&mut button, &credential("QD-0010003")));
        drop(button);
        let mut button = flash.boots(&["--cut-op", "2"]);
        await_that("it is cut", || button.power_failed());
        drop(button);
        assert_eq!(flash.holds().expect("would boot"), (None, others(&factory_settings())), "step {first}");
    }
}

#[test]
fn two_cuts_in_the_two_worst_moments_are_mended_at_the_next_contact() {
    // The known limit: the first inside the rename, the second while the next boot rewrites the backup that it fell back
    // on. A boot would then find nothing. The new file is whole, and the next contact puts it in place.
    let flash = Flash::fresh();
    let new = credential("QD-0010003");
    let mut button = flash.boots(&["--cut-in-rename", "before"]);
    assert!(is_cut(&mut button, &new));
    drop(button);
    let mut button = flash.boots(&["--cut-op", "2"]);
    await_that("it is cut", || button.power_failed());
    drop(button);
    assert!(flash.holds().is_none(), "the limit is gone: say so in the documents");
    passes(&flash, &[], &factory_text());
}

#[test]
fn a_visit_takes_few_steps_of_the_flash() {
    // The boot's backup takes two; then the new file, its bytes, and the two halves of the rename. A seventh would fail.
    passes(&Flash::fresh(), &["--cut-op", "7"], &factory_text());
    // The same credential again: not one.
    let new = credential("QD-0010003");
    let flash = Flash::of(&[("config.json", &with(&factory_text(), &new))]);
    let mut button = flash.boots(&["--cut-op", "3"]);
    visit(button.port_name(), &new).expect("passes");
    assert!(!button.power_failed());
}
