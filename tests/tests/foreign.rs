//! PROTOCOL.md followed by two clients that share no code with us, against the real service and the emulator.
//!
//! The clients are in `tests/foreign`, in Python and in JavaScript, each with the libraries of its language for HPKE and
//! HTTP Message Signatures. Both tell the same story: every request of `/v1`, the answers and the refusals.

use std::path::Path;

use qdrs_tests::{Cloud, node_packages, python, repository};
use tokio::process::Command;

/// The chapters of the story, as both clients print them.
const CHAPTERS: &str = "\
the example of the page
an access code and its damage
who am i
the policy
register and open
repeat before confirmation
the same key for something else
another key for the same serial
another spelling
confirm and confirm again
repeat after confirmation
take over
two journals
release
a product
a clock that is wrong
what a signature may look like
limits
refusals
all held
";

/// Starts a cloud of its own and has the client tell the story.
async fn tell(program: &Path, story: &str) {
    let cloud = Cloud::start().await;
    let station = cloud.access_code("line-1", &["--rework", "2"]);
    let product = cloud.access_code("product", &["--kind", "product"]);
    let output = Command::new(program)
        .arg(repository().join("tests/foreign").join(story))
        .args([&cloud.url(), &cloud.hub.http_url])
        .args([station, product])
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("no_proxy", "127.0.0.1,localhost")
        .kill_on_drop(true)
        .output()
        .await
        .expect("the client starts");
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{story} ended with {} after:\n{said}\n{complaint}", output.status);
    assert_eq!(said, CHAPTERS, "{complaint}");
}

#[tokio::test]
async fn a_client_in_python_follows_the_protocol() {
    tell(&python("foreign", "foreign/requirements.txt"), "story.py").await;
}

#[tokio::test]
async fn a_client_in_node_follows_the_protocol() {
    node_packages(&repository().join("tests/foreign"));
    tell(Path::new("node"), "story.mjs").await;
}
