//! Commands over the real service, in the sandbox: what a person types, and what is there afterwards.

use std::path::Path;

use qdrs_core::{
    api::{Code, Evidence, State},
    connection_string::DeviceConnectionString,
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
    note(Step::Writing { reservation: registered.registration.reservation, hardware_id: Some(place), port: None });
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

#[tokio::test]
async fn an_empty_serial_is_refused_before_anything_else() {
    let folders = Folders::below(Path::new("/nowhere"));
    let mut settings = Settings::resolve(&Flags::default(), &|_| None, &folders).expect("settles");
    let Command::Provision(args) = Cli::parse_from(["qdrs", "provision", " "]).command else { panic!("it is `provision`") };
    let error = provision::run(args, &mut settings, QUIET).await.expect_err("refused");
    assert_eq!((error.text().as_str(), error.outcome()), ("the serial number is empty", Outcome::BadInput));
}
