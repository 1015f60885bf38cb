//! The foreign judge: the hub vendor's own service SDK, unchanged, against the emulator.
//!
//! The SDK is in `target/tests/venv`, which `tests/run` makes.

use qdrs_service::emulator::{Emulator, EmulatorOptions, Running};
use qdrs_tests::{python, repository};
use tokio::process::Command;

/// Runs a program of `tests/vendor_sdk` against a new emulator; what it printed.
async fn judge(program: &str) -> (String, Running) {
    let folder = tempfile::tempdir().expect("temp dir");
    let options = EmulatorOptions { ca_dir: Some(folder.path().to_owned()), ..EmulatorOptions::with_https() };
    let hub = Emulator::start(options).await.expect("the emulator starts");
    let ca = hub.ca_file().expect("it was written");
    let output = Command::new(python("venv", "vendor_sdk/requirements.txt"))
        .arg(repository().join("tests/vendor_sdk").join(program))
        .env("QDRS_TEST_OWNER", &**hub.owner.reveal())
        // Many machines set these; the first of them that is set decides whom the SDK trusts.
        .envs(["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"].map(|name| (name, ca)))
        .env("NO_PROXY", "localhost,127.0.0.1")
        .env("no_proxy", "localhost,127.0.0.1")
        .kill_on_drop(true)
        .output()
        .await
        .expect("Python starts");
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} ended with {}:\n{said}\n{complaint}", output.status);
    (said.into_owned(), hub)
}

#[tokio::test]
async fn what_is_supported_the_vendors_service_sdk_takes_for_the_real_hub() {
    let (said, hub) = judge("registry.py").await;
    assert!(said.ends_with("all held\n"), "{said}");
    assert!(hub.registry.len() > 100, "it spoke with another hub");
    hub.stop().await;
}

#[tokio::test]
async fn every_method_of_the_vendors_service_sdk_works_or_is_called_unsupported_as_the_page_lists_them() {
    let (said, hub) = judge("surface.py").await;
    hub.stop().await;
    let page = std::fs::read_to_string(repository().join("qdrs-service/EMULATOR.md")).expect("the page");
    let (_, table) = page.split_once("| class | supported | not supported |\n| --- | --- | --- |\n").expect("the page's table");
    assert_eq!(table, said, "qdrs-service/EMULATOR.md has another table; the right one is:\n{said}");
}
