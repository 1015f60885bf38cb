//! The foreign judge: the hub vendor's own SDK, unchanged, must not notice that the hub is the emulator.
//!
//! The SDK is in `target/tests/venv`, which `tests/run` makes.

use qdrs_service::emulator::{Emulator, EmulatorOptions};
use qdrs_tests::{python, repository};
use tokio::process::Command;

#[tokio::test]
async fn the_vendors_python_service_sdk_does_not_notice() {
    let folder = tempfile::tempdir().expect("temp dir");
    let options = EmulatorOptions { ca_dir: Some(folder.path().to_owned()), ..EmulatorOptions::with_https() };
    let hub = Emulator::start(options).await.expect("the emulator starts");
    let ca = hub.ca_file().expect("it was written");

    let output = Command::new(python("venv", "vendor_sdk/requirements.txt"))
        .arg(repository().join("tests/vendor_sdk/registry.py"))
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
    assert!(output.status.success() && said.ends_with("all held\n"), "the SDK noticed:\n{said}\n{complaint}");
    assert!(hub.registry.len() > 100, "it spoke with another hub");
    hub.stop().await;
}
