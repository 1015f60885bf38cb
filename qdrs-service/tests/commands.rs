//! The owner's first hour, with the real binary: config, access code, service, and a client that registers.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use qdrs_core::{
    access::AccessCode,
    api::{ConfirmRequest, Evidence, Kind, RegisterRequest},
    client::{Client, ClientOptions},
};
use qdrs_service::emulator::{Emulator, EmulatorOptions};
use uuid::Uuid;

/// The binary, in a folder of its own, with no variable of ours but those given.
struct Owner {
    dir: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Owner {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder"), variables: Vec::new() }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qdrs-service"));
        command.args(words.split(' ')).current_dir(self.dir.path()).env_clear().envs(self.variables.clone());
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().expect("runs")
    }

    /// Exit code, and what a person reads on stderr.
    fn says(&self, words: &str) -> (i32, String) {
        let output = self.run(words);
        (output.status.code().expect("an exit code"), String::from_utf8(output.stderr).expect("text"))
    }
}

fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
}

/// A service that is killed if the test fails.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn init_writes_a_config_once_and_check_says_what_is_missing() {
    let owner = Owner::new();
    let (code, says) = owner.says("access list");
    assert_eq!(
        (code, says.lines().next()),
        (2, Some("error: there is no config file: neither qdrs-service.toml nor /etc/qdrs/service.toml (setting-invalid)"))
    );
    assert_eq!(owner.says("init").0, 0);
    let written = std::fs::read_to_string(owner.dir.path().join("qdrs-service.toml")).expect("there");
    assert_eq!(written, qdrs_service::config::SAMPLE);
    let (code, says) = owner.says("init");
    assert!(code == 2 && says.contains("is there already, and it is left as it is"), "{says}");
    let (code, says) = owner.says("config check");
    assert!(code == 1 && says.starts_with("error: can't read hub-connection: "), "{says}");
    write_secret(
        &owner.dir.path().join("hub-connection"),
        "HostName=a.azure-devices.net;SharedAccessKeyName=o;SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0",
    );
    let checked = owner.run("config check");
    assert!(checked.status.success());
    assert!(!String::from_utf8_lossy(&checked.stdout).contains("c2VjcmV0"), "the secret is not shown");
    assert!(!String::from_utf8_lossy(&checked.stderr).contains("note: "), "the sample needs no more words");
    let strict = format!("{written}\n[policies.strict]\nform = {{ pattern = 'QD-[0-9]{{7}}' }}\n");
    std::fs::write(owner.dir.path().join("qdrs-service.toml"), strict).expect("writes");
    let (code, says) = owner.says("config check");
    assert!(code == 0 && says.contains("note: policy `strict` has no `example`"), "{says}");
    let (code, says) = owner.says("serve --listen 0.0.0.0:0");
    assert!(code == 2 && says.contains("plain HTTP is served on loopback only"), "{says}");
}

#[test]
fn what_a_hubs_connection_string_comes_to_is_said_before_a_line_depends_on_it() {
    let owner = Owner::new();
    assert_eq!(owner.says("init").0, 0);
    let config = owner.dir.path().join("qdrs-service.toml");
    let written = std::fs::read_to_string(&config).expect("there");
    let checked = |connection: &str, device_host: &str| {
        let given = format!("connection_file = \"hub-connection\"\ndevice_host = \"{device_host}\"");
        std::fs::write(&config, written.replace("connection_file = \"hub-connection\"", &given)).expect("written");
        write_secret(&owner.dir.path().join("hub-connection"), connection);
        let output = owner.run("config check");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let of_policy = |host: &str, policy: &str| connection(host).replace("KeyName=o", &format!("KeyName={policy}"));
    // The service name in the owner's string is fine; devices get another.
    let (code, shows, says) = checked(&of_policy("A.service.azure-devices.net", "registryReadWrite"), "classic");
    assert!(code == Some(0) && shows.contains("a.azure-devices.net (`device_host = \"classic\"`)"), "{shows}");
    assert!(!says.contains("note: hub"), "{says}");
    let (code, shows, says) = checked(&of_policy("a.device.azure-devices.net", "registryRead"), "device");
    assert!(code == Some(0) && shows.contains("a.device.azure-devices.net (`device_host = \"device\"`)"), "{shows}");
    assert!(says.contains("policy `registryRead` of a.device.azure-devices.net lacks registry write"), "{says}");
    assert!(says.contains("the name for devices") && says.contains("write a.azure-devices.net as its `HostName`"), "{says}");
    for (connection, device_host, wrong) in [
        (connection("a.azure-devices.net"), "service", "a hub's service name is not valid in a device connection string"),
        (connection("a.azure-devices.net"), "b.azure-devices.net", "`b.azure-devices.net` is a name of another hub"),
        (connection("dps.azure-devices-provisioning.net"), "classic", "this is a Device Provisioning Service's"),
        ("{\"connectionString\": null}".to_owned(), "classic", "there is no connection string in it"),
    ] {
        let (code, shows, says) = checked(&connection, device_host);
        assert!(code != Some(0) && says.contains(wrong), "{says}");
        assert!(!format!("{shows}{says}").contains("c2VjcmV0"), "the secret is not shown");
    }
}

#[test]
fn an_access_code_is_printed_once_and_taken_away_for_ever() {
    let owner = Owner::new();
    assert_eq!(owner.says("init").0, 0);
    let made = owner.run("access create line-1 --quota 5 --expires 2099-12-31");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let code = String::from_utf8(made.stdout).expect("text");
    assert_eq!(AccessCode::parse(code.trim_end()).expect("one code and nothing else").kind(), Kind::Station);
    let talk = String::from_utf8_lossy(&made.stderr).into_owned();
    let shown = String::from_utf8(owner.run("access show line-1").stdout).expect("text");
    assert!(shown.contains("permissions  take-over") && shown.contains("expires      2100-01-01T00:00:00Z"), "{shown}");
    for text in [&talk, &shown] {
        assert!(!text.contains("qdrs1"), "the code is shown nowhere else: {text}");
    }
    let ledger = std::fs::read(owner.dir.path().join("qdrs-ledger.sqlite")).expect("a ledger");
    assert!(!ledger.windows(12).any(|bytes| bytes == &code.as_bytes()[..12]), "and the ledger does not have it");
    assert_ne!(owner.says("access create line-1").0, 0, "the name is in use");
    for (words, begins) in [
        ("access create line-2 --policy none-such", "error: there is no policy `none-such`; the config has default"),
        ("access create line-2 --hub none-such", "error: there is no hub `none-such`; the config has main"),
        ("access create line-2 --expires 2020-01-01", "error: --expires 2020-01-02T00:00:00Z is before"),
        ("access show none-such", "error: there is no access code `none-such`"),
    ] {
        let (code, says) = owner.says(words);
        assert!(code == 2 && says.starts_with(begins), "{words}: {says}");
    }
    assert_eq!(owner.says("access suspend line-1").0, 0);
    assert_eq!(owner.says("access resume line-1").0, 0);
    assert_eq!(owner.says("access revoke line-1").0, 0);
    let (code, says) = owner.says("access resume line-1");
    assert!(code == 2 && says.contains("revoked, and that is for ever"), "{says}");
}

/// A path that is mistyped, or a disk that is not mounted, makes no second ledger.
#[test]
fn a_mistyped_ledger_makes_nothing() {
    let owner = Owner::new();
    assert_eq!(owner.says("init").0, 0);
    let (ledger, typo) = (owner.dir.path().join("qdrs-ledger.sqlite"), owner.dir.path().join("typo.sqlite"));
    assert!(ledger.exists(), "`init` makes it");
    for words in [
        "access create line-1",
        "access list",
        "access show line-1",
        "access revoke line-1",
        "batch open w47 --expect 3",
        "batch list",
        "batch show w47",
        "batch close w47",
        "serials show 7",
        "serials release 7 --reason x",
        "serials scrap 7 --reason x",
        "ledger migrate",
    ] {
        let output = owner.run(&format!("{words} --ledger typo.sqlite"));
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(2) && says.starts_with("error: there is no ledger typo.sqlite (setting-"),
            "{words}: {says}"
        );
        assert!(output.stdout.is_empty() && !typo.exists(), "{words}");
    }
    std::fs::rename(&ledger, owner.dir.path().join("away.sqlite")).expect("moved");
    let (_, says) = owner.says("config check");
    assert!(says.contains("note: there is no ledger qdrs-ledger.sqlite; check the path"), "{says}");
    assert!(!ledger.exists());
}

/// The config of an owner whose ledger has a serial of `example.azure-devices.net`, by the version that it has.
fn owner_with_kept_ledger(version: u32) -> Owner {
    let mut owner = Owner::new();
    let kept = format!("{}/../tests/data/ledgers/v{version}.sqlite", env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(kept, owner.dir.path().join("ledger.sqlite")).expect("copied");
    let config = "version = 1\nledger = \"ledger.sqlite\"\n[hubs.main]\nconnection_file = \"main\"\n[policies.sevens]\n";
    std::fs::write(owner.dir.path().join("qdrs-service.toml"), config).expect("written");
    write_secret(&owner.dir.path().join("main"), &connection("Example.azure-devices.net"));
    owner.variables.push(("QDRS_LOG", "off".into()));
    owner
}

fn connection(host: &str) -> String {
    format!("HostName={host};SharedAccessKeyName=o;SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0")
}

#[test]
fn an_older_ledger_is_migrated_by_the_command_of_that_name_and_by_no_other() {
    let owner = owner_with_kept_ledger(3);
    let ledger = owner.dir.path().join("ledger.sqlite");
    let before = std::fs::read(&ledger).expect("there");
    for words in ["access list", "serials show 7", "batch show w47"] {
        let (code, says) = owner.says(words);
        assert!(code == 2 && says.contains("ledger.sqlite has version 3, and this QDRS works with version"), "{words}: {says}");
        assert!(says.contains("qdrs-service ledger migrate"), "{says}");
    }
    let (code, says) = owner.says("config check");
    assert!(code == 0 && says.contains("note: ledger ledger.sqlite has version 3"), "{says}");
    assert!(std::fs::read(&ledger).expect("there") == before, "nothing is changed");
    let (code, says) = owner.says("ledger migrate");
    assert!(code == 0 && says.starts_with("the ledger ledger.sqlite had version 3, and has "), "{says}");
    assert_eq!(owner.says("access list").0, 0);
}

/// A variable in a shell, or an edited file: the serial is not looked for in another hub than its own.
#[test]
fn a_serial_whose_hub_the_config_does_not_have_is_named_with_what_to_write() {
    let mut owner = owner_with_kept_ledger(4);
    assert_eq!(owner.says("ledger migrate").0, 0);
    let (code, says) = owner.says("config check");
    assert!(code == 0 && !says.contains("example.azure-devices.net"), "its spelling does not matter: {says}");
    owner.variables.push(("QDRS_HUB_CONNECTION", connection("b.azure-devices.net")));
    let (code, says) = owner.says("config check");
    assert!(code == 0 && says.contains("in the hub example.azure-devices.net (open: 0, confirmed: 1), and no hub"), "{says}");
    let given = "`main` is b.azure-devices.net (connection string given in QDRS_HUB_CONNECTION)";
    assert!(says.contains(given) && says.contains("`[hubs.old-1]` with `connection_file = \"FILE\"`"), "{says}");
    for end in ["release", "scrap"] {
        let (code, says) = owner.says(&format!("serials {end} 7 --reason x"));
        assert!(code == 1 && says.contains("`7` belongs to the hub example.azure-devices.net") && says.contains(given), "{says}");
    }
    let shown = owner.run("serials show 7");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("hub          example.azure-devices.net"));
    assert!(String::from_utf8_lossy(&shown.stderr).contains(given), "{}", String::from_utf8_lossy(&shown.stderr));
    // So does the service, when it starts.
    owner.variables.retain(|(name, _)| *name != "QDRS_LOG");
    let child = owner.command("serve --listen 127.0.0.1:0").stderr(Stdio::piped()).spawn().expect("starts");
    let mut service = Service(child);
    let log = BufReader::new(service.0.stderr.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    let log: Vec<_> = log.take_while(|line| !line.contains("\"listening\"")).collect();
    assert!(log.iter().any(|line| line.contains("(open: 0, confirmed: 1)") && line.contains(given)), "{log:?}");
    drop(service);
    // As it says.
    assert!(says.contains("and `default_hub = \"main\"` above its tables"), "{says}");
    let config = owner.dir.path().join("qdrs-service.toml");
    let text = std::fs::read_to_string(&config).expect("there") + "[hubs.old-1]\nconnection_file = \"main\"\n";
    std::fs::write(&config, text.replace("version = 1", "version = 1\ndefault_hub = \"main\"")).expect("written");
    let (code, says) = owner.says("config check");
    assert!(code == 0 && !says.contains("example.azure-devices.net"), "{says}");
    assert!(owner.run("serials show 7").stderr.is_empty());
}

/// Under another normal form a label could be made a second time: nothing is served until the owner has settled it by name.
#[test]
fn a_changed_form_is_refused_until_it_is_settled() {
    let owner = owner_with_kept_ledger(4);
    let config = owner.dir.path().join("qdrs-service.toml");
    let form = |form: &str| {
        let text = std::fs::read_to_string(&config).expect("there");
        let text = text.split("[policies.sevens]").next().expect("what stands before").to_owned();
        std::fs::write(&config, format!("{text}[policies.sevens]\nform = {{ {form} }}\n")).expect("written");
    };
    assert_eq!(owner.says("ledger migrate").0, 0);
    assert_eq!(owner.says("config check").0, 0);
    form("zeros = { pad = 4 }");
    let told = "error: policy `sevens` would write 7 registered serials otherwise than they stand in the ledger: `14` (now `0014`), \
                `21` (now `0021`), `7` (now `0007`) and 4 more (setting-invalid)\n help: a label could be made twice";
    let (code, says) = owner.says("config check");
    assert!(code == 1 && says.contains(told), "{says}");
    let (code, says) = owner.says("serve --listen 127.0.0.1:0");
    assert!(code == 2 && says.starts_with(told) && says.contains("`qdrs-service ledger renormalise sevens`"), "{says}");
    // The owner's commands find a serial by either spelling.
    let shows = |serial: &str| {
        let shown = owner.run(&format!("serials show {serial}"));
        String::from_utf8(shown.stdout).expect("text").lines().next().map(str::to_owned)
    };
    for serial in ["7", "0007", "007"] {
        assert_eq!(shows(serial).as_deref(), Some("serial       7"));
    }
    let tried = owner.run("ledger renormalise sevens");
    assert!(tried.status.success() && String::from_utf8_lossy(&tried.stdout).contains("7 -> 0007\n"));
    assert!(String::from_utf8_lossy(&tried.stderr).contains("nothing is changed without --apply"));
    assert_eq!(shows("7").as_deref(), Some("serial       7"));
    // A service that runs has the lock.
    let lock =
        std::fs::File::options().create(true).append(true).open(owner.dir.path().join("ledger.sqlite.lock")).expect("opens");
    lock.lock().expect("locked");
    let (code, says) = owner.says("ledger renormalise sevens --apply");
    assert!(code == 2 && says.contains("another `qdrs-service serve` serves from the ledger"), "{says}");
    drop(lock);
    let (code, says) = owner.says("ledger renormalise sevens --apply");
    assert_eq!(
        (code, says.as_str()),
        (
            0,
            "3 serials and 4 entries of lists of policy `sevens` are written by its form now; their device ids stay as they are\n"
        )
    );
    for serial in ["7", "0007", "007"] {
        assert_eq!(shows(serial).as_deref(), Some("serial       0007"));
    }
    assert!(String::from_utf8(owner.run("serials show 7").stdout).expect("text").contains("device id    7\n"));
    assert!(String::from_utf8(owner.run("batch show w47 --csv").stdout).expect("text").contains("\"0028\""));
    let (code, says) = owner.says("config check");
    assert!(code == 0, "{says}");
    assert_eq!(owner.says("ledger renormalise sevens").1, "all serials of policy `sevens` stand as its form writes them\n");
    // A policy that the config does not have any more is named.
    std::fs::write(&config, std::fs::read_to_string(&config).expect("there").replace("policies.sevens", "policies.eights"))
        .expect("written");
    let (code, says) = owner.says("config check");
    assert!(
        code == 0 && says.contains("note: serials are registered under the policy `sevens`, and the config does not"),
        "{says}"
    );
    assert_eq!(shows("0007").as_deref(), Some("serial       0007"));
}

#[test]
fn signed_serials_are_made_and_checked_and_their_key_is_nowhere_else() {
    let owner = Owner::new();
    let path = |name: &str| owner.dir.path().join(name);
    let policy = "[form]\ncase = \"upper\"\ndrop = \"- \"\n[[rule]]\nkind = \"signed\"\nkey_file = \"box.key\"\nbody = \"BOX-{number}-\"\n";
    std::fs::write(path("box.toml"), policy).expect("written");
    let (code, says) = owner.says("serials generate --policy box.toml --count 3");
    assert!(code == 2 && says.contains("box.key"), "{says}");
    assert_eq!(owner.says("serials key --out box.key").0, 0);
    let key = std::fs::read_to_string(path("box.key")).expect("there");
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path("box.key")).expect("there").permissions()) & 0o777,
        0o600
    );
    let (code, says) = owner.says("serials key --out box.key");
    assert!(code == 2 && says.contains("is there already, and it is left as it is"), "{says}");
    assert_eq!(std::fs::read_to_string(path("box.key")).expect("there"), key);

    let words = "serials generate --policy box.toml --count 3 --start 9 --out box.csv --labels labels --symbol data-matrix";
    let (code, says) = owner.says(words);
    assert_eq!(code, 0, "{says}");
    assert_eq!(
        says,
        "3 serials, 9 to 11; the next ones begin with --start 12\none guess in 1,099,511,627,776 is right (1 in 2^40); \
         at 1200 guesses a minute with one access code that takes 871 years on average\n"
    );
    let csv = std::fs::read_to_string(path("box.csv")).expect("there");
    let rows: Vec<(&str, &str)> = csv.lines().filter_map(|line| line.trim_matches('"').split_once(r#"",""#)).collect();
    assert_eq!((rows.len(), rows[0]), (4, ("serial", "label")));
    for (serial, label) in &rows[1..] {
        assert!(owner.run(&format!("policy test box.toml {serial} {label}")).status.success(), "{serial} {label}");
        let symbol = std::fs::read_to_string(path(&format!("labels/{serial}.svg"))).expect("a symbol for each");
        assert!(symbol.starts_with("<svg") && symbol.contains(label));
    }
    #[cfg(unix)]
    for (name, private) in [("labels".to_owned(), 0o700), (format!("labels/{}.svg", rows[1].0), 0o600)] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path(&name)).expect("there").permissions());
        assert_eq!(mode & 0o777, private, "{name}");
    }
    // A signature is no typo to be mended: nothing near is named.
    let serial = rows[1].0;
    let changed = if serial.ends_with('7') { '8' } else { '7' };
    let tested = owner.run(&format!("policy test box.toml {}{changed}", &serial[..serial.len() - 1]));
    let tested = String::from_utf8(tested.stdout).expect("text");
    assert!(tested.contains("REFUSED") && tested.contains("one guess in") && !tested.contains(" is it "), "{tested}");
    for text in [&csv, &says, &tested] {
        assert!(!text.contains(key.trim()), "the key is shown nowhere");
    }
    for (words, why) in [
        ("serials generate --policy box.toml --count 2 --start 999999", "more digits than the body has room for"),
        ("serials generate --policy box.toml --count 1 --body BOX", "one `{number}` in it"),
        ("serials generate --policy box.toml --count 1 --out box.csv", "is there already"),
        ("serials generate --policy box.toml --count 1 --labels .", "others can look into"),
    ] {
        let (code, says) = owner.says(words);
        assert!(code == 2 && says.contains(why), "{words}: {says}");
    }
    assert_eq!(owner.says("init").0, 0);
    let (code, says) = owner.says("serials generate --policy default --count 1");
    assert!(code == 2 && says.contains("does not sign serials"), "{says}");
}

/// A list as it comes from a spreadsheet; a typo and a duplicate in it open nothing until they are to be left out.
#[test]
fn a_batch_is_opened_by_a_list_as_a_spreadsheet_saves_it() {
    let owner = Owner::new();
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let (policy, lists) =
        (format!("{repository}/samples/policies/multiples-of-7.toml"), format!("{repository}/tests/data/batches"));
    let config = format!("version = 1\nlisten = \"127.0.0.1:0\"\npolicy_files = [\"{policy}\"]\n");
    std::fs::write(owner.dir.path().join("qdrs-service.toml"), config).expect("written");
    let (code, says) = owner.says("init");
    assert!(code == 0 && says.contains("qdrs-service.toml is there already, and it is left as it is\n"), "{says}");
    let (code, says) = owner.says(&format!("batch open week-47 --list {lists}/far-cell.xlsx"));
    assert_eq!((code, says.as_str()), (0, "batch `week-47` is open for 2 of policy `multiples-of-7`\n"));
    std::fs::write(owner.dir.path().join("48.csv"), b"Farbe;Nr.\r\ngr\xfcn;QD-0041713\r\nrot;QD-OO41720\r\nrot;QD-0041713\r\n")
        .expect("written");
    let (code, says) = owner.says("batch open week-48 --list 48.csv --column Nr.");
    assert_eq!(code, 2);
    let expected = "48.csv, line 3: serial `QD-OO41720` does not have the right form; it should be `QD-` and seven digits, as on the \
                    label; is it `QD-0041720` (a character taken for one that looks like it)?\n\
                    48.csv, line 4: serial `QD-0041713` stands in line 2 already; take one of them out\n\
                    error: 2 of the 3 rows in `48.csv` can't be used (batch-invalid)\n \
                    help: correct the rows at their source, or in a text editor: a spreadsheet program may drop zeros in front of \
                    numbers; nothing was done yet, and `--skip-bad` goes on with the good one\n";
    assert_eq!(says, expected);
    let listed = |owner: &Owner| String::from_utf8(owner.run("batch list").stdout).expect("text").lines().count();
    assert_eq!(listed(&owner), 1, "nothing was opened");
    let (code, says) = owner.says("batch open week-48 --list 48.csv --column 2 --skip-bad");
    assert!(
        code == 0
            && says.ends_with("2 of 3 rows are left out: lines 3, 4\nbatch `week-48` is open for 1 of policy `multiples-of-7`\n"),
        "{says}"
    );
    assert_eq!(listed(&owner), 2);
    let (code, says) = owner.says("batch open week-49 --list none-such.xlsx");
    assert!(code == 2 && says.starts_with("error: the batch `none-such.xlsx` can't be read: "), "{says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_made_while_the_service_runs_registers_at_once_and_is_revoked_at_once() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.expect("an emulator");
    let mut owner = Owner::new();
    owner.variables.push(("QDRS_HUB_ENDPOINT", emulator.http_url.clone()));
    assert_eq!(owner.says("init").0, 0);
    write_secret(&owner.dir.path().join("hub-connection"), &emulator.owner.reveal());
    let child = owner.command("serve --listen 127.0.0.1:0").stderr(Stdio::piped()).spawn().expect("starts");
    let mut service = Service(child);
    let mut log = BufReader::new(service.0.stderr.take().expect("a pipe")).lines();
    let line: serde_json::Value = serde_json::from_str(&log.next().expect("a line").expect("text")).expect("JSON");
    let url = line["url"].as_str().expect("its URL").parse().expect("a URL");

    let code = String::from_utf8(owner.run("access create line-1").stdout).expect("text");
    let code = AccessCode::parse(code.trim()).expect("reads");
    let options = ClientOptions { service: url, code, ca_file_pem: None, patience: Duration::ZERO, user_agent: "test".into() };
    let client = Client::new(options).expect("a client");
    let job = Uuid::now_v7();
    let made = client.register("QD-0001", job, &RegisterRequest::default()).await.expect("registered");
    let confirm = ConfirmRequest {
        reservation: made.registration.reservation,
        fingerprint: made.credential.key.fingerprint(),
        evidence: Evidence::ReadBack,
        hardware_id: None,
    };
    client.confirm("QD-0001", job, &confirm).await.expect("confirmed");
    assert_eq!(owner.says("access revoke line-1").0, 0);
    let refused = client.access().await.expect_err("refused");
    assert_eq!(refused.problem().map(|problem| problem.code.as_str()), Some("access-code-revoked"));

    // Told to end, it ends well; and its log holds no secret.
    #[cfg(unix)]
    {
        let told = Command::new("kill").args(["-TERM", &service.0.id().to_string()]).status().expect("runs");
        assert!(told.success() && service.0.wait().expect("ends").success());
        let log: Vec<String> = log.map(|line| line.expect("text")).collect();
        let key = made.credential.key.to_base64();
        assert!(log.len() >= 4, "a line for each request: {log:?}");
        assert!(!log.iter().any(|line| line.contains(key.as_str()) || line.contains("SharedAccessKey")));
    }
}
