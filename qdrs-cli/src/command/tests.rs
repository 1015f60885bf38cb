//! Commands over the real service, in the sandbox: what a person types, and what is there afterwards.

use std::path::Path;

use qdrs_core::{
    api::{Code, Evidence, State},
    connection_string::DeviceConnectionString,
    explain::Explain as _,
    hardware_id::HardwareId,
};
use uuid::Uuid;

use super::*;
use crate::{
    journal::{Entry, Journal, Phase, Step},
    sandbox::{self, Sandbox},
    settings::Folders,
};

const QUIET: Printer = Printer { json: false, quiet: true };

/// A sandbox without practice devices: these commands need none.
async fn sandbox() -> (Sandbox, Settings) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let flags = Flags { sandbox: true, station: Some("line-1".into()), ..Flags::default() };
    let mut settings = Settings::resolve(&flags, &|_| None, &Folders::below(Path::new("/nowhere"))).expect("settles");
    settings.ports.set_for_sandbox(vec!["none".into()]);
    let sandbox = sandbox::start(&mut settings).await.expect("starts");
    // From here on it is a service like any other.
    settings.sandbox = false;
    (sandbox, settings)
}

async fn register(settings: &mut Settings, serial: &str, out: &Path) -> Result<Outcome, Failure> {
    let args = ["qdrs", "register", serial, "--out", out.to_str().expect("is text")];
    let Command::Register(args) = Cli::parse_from(args).command else { panic!("it is `register`") };
    register::run(args, settings, QUIET).await
}

#[tokio::test]
async fn a_registered_serial_has_a_file_and_is_confirmed_and_the_command_may_be_repeated() {
    let (_sandbox, mut settings) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("device");
    for _ in 0..2 {
        assert_eq!(register(&mut settings, "QD-0041713", &out).await.expect("passes"), Outcome::AllPassed);
    }
    let text = crate::secret_file::read(&out).expect("private");
    let held = DeviceConnectionString::parse(std::str::from_utf8(&text).expect("is text").trim()).expect("parses");
    let status = connect(&settings).expect("connects").status("QD-0041713").await.expect("known");
    assert_eq!(
        (status.state, status.evidence, status.device_id),
        (State::Confirmed, Some(Evidence::ReadBack), Some(held.device_id))
    );
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1, "nothing else is left beside it");

    std::fs::remove_file(&out).expect("removes");
    assert_eq!(register(&mut settings, "QD-0041713", &out).await.expect_err("handed out once").code(), Code::SerialTaken);
    assert!(!out.exists());
}

#[tokio::test]
async fn a_run_killed_after_any_step_is_finished_by_the_next_with_the_same_job() {
    let (_sandbox, mut settings) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    let pattern = ["job", "registered", "writing", "file", "written"];
    for (at, killed_after) in pattern.into_iter().enumerate() {
        let (serial, out) = (format!("QD-{:07}", 41720 + 7 * at), folder.path().join(killed_after));
        until(&settings, &serial, &out, killed_after).await;
        let before = settings.open_journal().expect("opens").state(&serial).expect("known").job;

        register(&mut settings, &serial, &out).await.unwrap_or_else(|error| panic!("killed after `{killed_after}`: {error:?}"));
        let after = settings.open_journal().expect("opens").state(&serial).expect("known");
        assert_eq!((after.phase(), after.job), (Phase::Passed, before), "killed after `{killed_after}`");
        assert!(out.exists(), "killed after `{killed_after}`");
    }
}

/// Does what `register` does, up to and with one step.
async fn until(settings: &Settings, serial: &str, out: &Path, last: &str) {
    let journal: Journal = settings.open_journal().expect("opens");
    let note = |step| journal.append(Entry::new(serial, step)).expect("appends");
    let job = Uuid::now_v7();
    note(Step::Job {
        job,
        confirm: Uuid::now_v7(),
        slot: None,
        batch: None,
        hardware_id: None,
        take_over: None,
        replaces: None,
        extra: Default::default(),
    });
    if last == "job" {
        return;
    }
    let registered = connect(settings).expect("connects").register(serial, job, &Default::default()).await.expect("registers");
    note(Step::Registered { registration: Box::new(registered.registration.clone()) });
    if last == "registered" {
        return;
    }
    let place = format!("file:{}", out.display());
    note(Step::Writing {
        reservation: registered.registration.reservation,
        hardware_id: HardwareId::from_record(&place),
        port: None,
    });
    if last == "writing" {
        return;
    }
    crate::secret_file::write_new(out, registered.credential.reveal().as_bytes()).expect("writes");
    if last == "file" {
        return;
    }
    let (fingerprint, evidence) = (registered.credential.key.fingerprint(), Evidence::ReadBack);
    note(Step::Written(crate::journal::Written { fingerprint, evidence, hardware_id: None }));
}

#[tokio::test]
async fn what_the_policy_refuses_is_said_and_leaves_no_file() {
    let (_sandbox, mut settings) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    let error = register(&mut settings, "QD-0041714", &folder.path().join("device")).await.expect_err("no multiple of 7");
    assert_eq!((error.code(), error.outcome()), (Code::SerialInvalid, Outcome::SomeFailed));
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0);
}

#[tokio::test]
async fn setup_checks_the_code_before_it_keeps_anything() {
    let (_sandbox, settings) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    let url = settings.service().expect("set").to_string();
    let code = settings.code.clone().expect("in memory");
    let file = folder.path().join("code");
    let setup = async |code: &qdrs_core::access::AccessCode| {
        let text = zeroize::Zeroizing::new(secrecy::ExposeSecret::expose_secret(&code.reveal()).to_owned());
        crate::secret_file::write(&file, text.as_bytes()).expect("writes");
        let flags = Flags { code_file: Some(file.clone()), station: Some("line-1".into()), ..Flags::default() };
        let folders = Folders::below(folder.path());
        let mut settings = Settings::resolve(&flags, &|_| None, &folders).expect("settles");
        let Command::Setup(args) = Cli::parse_from(["qdrs", "setup", &url]).command else { panic!("it is `setup`") };
        (
            setup::run(args, &mut settings, QUIET).await,
            Settings::resolve(&Flags::default(), &|_| None, &folders).expect("settles"),
        )
    };

    let (ended, found) = setup(&qdrs_core::access::AccessCode::generate(qdrs_core::api::Kind::Station)).await;
    assert_eq!(ended.expect_err("unknown to the service").code(), Code::AccessCodeUnknown);
    assert!(!found.config_found);

    let (ended, found) = setup(&code).await;
    assert_eq!(ended.expect("passes"), Outcome::AllPassed);
    assert_eq!((found.station.as_str(), found.code_file.value.as_deref()), ("line-1", Some(file.as_path())));
    assert_eq!(found.service.value, settings.service.value);
    connect(&found).expect("connects").access().await.expect("is known");
}

#[test]
fn an_empty_serial_is_refused_before_anything_else() {
    for command in [&["provision"][..], &["register", "--out", "x"], &["status"], &["release", "--reason", "cracked"]] {
        for blank in ["", " ", "\u{a0}", "\t"] {
            let words = ["qdrs"].iter().chain(command).copied().chain([blank]);
            let error = Cli::try_parse_from(words).map(|_| ()).expect_err("refused");
            assert_eq!(error.exit_code(), 2, "{command:?} {blank:?}");
            assert!(error.to_string().contains("the serial number is empty; scan the label"), "{command:?}: {error}");
        }
    }
}

/// `qdrs` with these words, over the sandbox's service.
async fn command(settings: &mut Settings, words: &[&str]) -> Result<Outcome, Failure> {
    match Cli::parse_from(["qdrs"].iter().chain(words)).command {
        Command::Provision(args) => provision::run(args, settings, QUIET, &crate::interrupt::Interrupt::listen(QUIET)).await,
        Command::Register(args) => register::run(args, settings, QUIET).await,
        Command::Check(args) => check::run(args, settings, QUIET).await,
        Command::Release(args) => release::run(&args, settings, QUIET).await,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_provisioned_with_what_stands_beside_its_serials_and_bad_rows_are_skipped_on_request() {
    let (_sandbox, mut settings) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    let name = |name: &str| folder.path().join(name).to_str().expect("is text").to_owned();
    let (file, out, report) = (name("week-47.csv"), name("devices"), name("report.csv"));
    std::fs::write(&file, "serial;lot\nQD-0041713;A\n1.2E+11;A\nQD-0041720;B\n").expect("writes");
    let words = ["provision", "--batch", &file, "--device", "file", "--port", &out, "--report", &report];

    let error = command(&mut settings, &words).await.expect_err("a row is bad");
    assert_eq!((error.code(), error.outcome()), (Code::BatchInvalid, Outcome::BadInput));
    assert!(!Path::new(&out).exists(), "nothing is done while anything is bad");

    let outcome = command(&mut settings, &[&words[..], &["--skip-bad"]].concat()).await.expect("goes on with the good ones");
    assert_eq!(outcome, Outcome::AllPassed);
    let journal = settings.open_journal().expect("opens");
    let lots: Vec<_> =
        journal.all().iter().map(|state| (state.serial.clone(), state.extra.get("lot").map(str::to_owned))).collect();
    assert_eq!(lots, [("QD-0041713".to_owned(), Some("A".to_owned())), ("QD-0041720".to_owned(), Some("B".to_owned()))]);
    let report = std::fs::read_to_string(&report).expect("is written");
    assert!(report.lines().next().is_some_and(|header| header.ends_with(r#","detail","lot""#)), "{report}");
    assert!(
        report.lines().nth(2).is_some_and(|row| row.starts_with(r#""QD-0041720","passed","#) && row.ends_with(r#","B""#)),
        "{report}"
    );
}

#[tokio::test]
async fn a_released_serial_is_registered_again_with_a_new_credential() {
    let (_sandbox, mut settings) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let held = |path: &Path| {
        let text = crate::secret_file::read(path).expect("private");
        DeviceConnectionString::parse(std::str::from_utf8(&text).expect("is text").trim()).expect("parses").key.fingerprint()
    };
    let release = ["release", "QD-0041713", "--reason", "cracked case"];
    assert_eq!(command(&mut settings, &release).await.expect_err("it is not made").code(), Code::SerialUnknown);
    for reason in ["", " ", "two\nlines", &"x".repeat(201)] {
        let error = command(&mut settings, &["release", "QD-0041713", "--reason", reason]).await.expect_err("refused");
        assert_eq!(error.code(), Code::SettingInvalid);
    }
    register(&mut settings, "QD-0041713", &first).await.expect("passes");
    for _ in 0..2 {
        assert_eq!(command(&mut settings, &release).await.expect("is released"), Outcome::AllPassed);
        let phase = settings.open_journal().expect("opens").state("QD-0041713").map(|state| state.phase());
        assert_eq!(phase, Some(Phase::Released));
        if !second.exists() {
            register(&mut settings, "QD-0041713", &second).await.expect("is made again");
            assert_ne!(held(&first), held(&second));
        }
    }
    let info = connect(&settings).expect("connects").access().await.expect("answers");
    assert_eq!((info.registered, info.reworked), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_never_noted_kills_nothing_that_was_made_since() {
    let (_sandbox, mut settings) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    register(&mut settings, "QD-0041713", &folder.path().join("first")).await.expect("passes");
    let client = connect(&settings).expect("connects");
    let release = ["release", "QD-0041713", "--reason", "cracked case"];
    // Killed right after the service had done it.
    let reservation = client.status("QD-0041713").await.expect("is known").reservation.expect("is its own");
    let request = qdrs_core::api::ReleaseRequest { reservation, reason: "cracked case".into() };
    client.release("QD-0041713", Uuid::now_v7(), &request).await.expect("is released");
    command(&mut settings, &release).await.expect("hears the same again, free of charge");
    assert_eq!(client.access().await.expect("answers").reworked, 1);

    register(&mut settings, "QD-0041713", &folder.path().join("second")).await.expect("passes");
    let reservation = client.status("QD-0041713").await.expect("is known").reservation.expect("is its own");
    let request = qdrs_core::api::ReleaseRequest { reservation, reason: "again".into() };
    client.release("QD-0041713", Uuid::now_v7(), &request).await.expect("is released");
    // Another station with the same code makes it.
    client.register("QD-0041713", Uuid::now_v7(), &Default::default()).await.expect("is made");
    assert_eq!(command(&mut settings, &release).await.expect_err("that one was not meant").code(), Code::Released);
    assert_eq!(client.status("QD-0041713").await.expect("is known").state, State::Issued);
    command(&mut settings, &release).await.expect("now it is");
    assert_eq!(client.status("QD-0041713").await.expect_err("is free").code(), Code::SerialUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_registered_into_a_folder_and_again_what_is_left() {
    let (_sandbox, mut settings) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("week-47.csv");
    std::fs::write(&file, "serial\nQD-0041713\nQD-0041714\nQD-0041720\n").expect("writes");
    let (file, out) = (file.to_str().expect("is text"), folder.path().to_str().expect("is text"));
    // One is no multiple of 7: so says the service's policy, before anything is made.
    let refused = command(&mut settings, &["register", "--batch", file, "--out", out]).await.expect_err("is checked whole");
    assert_eq!((refused.code(), folder.path().join("QD-0041713.txt").exists()), (Code::BatchInvalid, false));
    for _ in 0..2 {
        let outcome = command(&mut settings, &["register", "--batch", file, "--out", out, "--skip-bad"]).await.expect("ends");
        assert_eq!(outcome, Outcome::AllPassed);
        for serial in ["QD-0041713", "QD-0041720"] {
            let text = crate::secret_file::read(&folder.path().join(format!("{serial}.txt"))).expect("private");
            assert!(std::str::from_utf8(&text).expect("is text").contains(&format!("DeviceId={serial};")));
        }
        assert!(!folder.path().join("QD-0041714.txt").exists());
    }
    let error = command(&mut settings, &["register", "--batch", file, "--out", file]).await.expect_err("no folder");
    assert_eq!(error.code(), Code::FileUnwritable);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_the_service_what_is_made_and_counts_what_is_left() {
    let (_sandbox, mut settings) = sandbox().await;
    let folder = tempfile::tempdir().expect("a folder");
    register(&mut settings, "QD-0041713", &folder.path().join("device")).await.expect("passes");
    let file = folder.path().join("week-47.csv");
    std::fs::write(&file, "serial\nQD-0041713\nQD-0041720\nQD-0041727\n").expect("writes");
    let words = ["qdrs", "check", file.to_str().expect("is text")];
    let Command::Check(args) = Cli::parse_from(words).command else { panic!("it is `check`") };
    let (examined, judged) = check::look(args, &mut settings, QUIET).await.expect("looks");
    let text = check::said(&examined, &judged, 100, false, false);
    let text = anstream::adapter::strip_str(&text).to_string().replace(&format!("{}/", folder.path().display()), "");
    insta::assert_snapshot!(text, @r"
    week-47.csv: 3 rows; column 1 `serial`
    note  line 2: serial `QD-0041713` was made before
    GOOD: 3 rows by the policy `multiples-of-7`.
    The hub needs less than a minute for 2 registrations at 100 a minute (one unit of tier S1; `--hub-rate N` for another).
    ");
    assert_eq!(command(&mut settings, &words[1..]).await.expect("looks"), Outcome::AllPassed);
}
