//! The service as its callers meet it: real sockets, real addresses on loopback.

use std::collections::BTreeMap;

use qdrs_core::{
    access::AccessCode,
    api::Kind,
    client::{Client, ClientOptions},
    policy::Policy,
};

use super::*;
use crate::ledger::{Access, AccessState};

mod connections;
mod prefix;

async fn registrar(dir: &tempfile::TempDir) -> (Registrar, AccessCode) {
    let ledger = SqliteLedger::open_or_make(&dir.path().join("ledger.sqlite")).expect("opens");
    let code = AccessCode::generate(Kind::Station);
    let access = Access {
        key_id: code.key_id(),
        keys: code.public(),
        name: "line-1".into(),
        kind: Kind::Station,
        policy: "any".into(),
        hub: "main".into(),
        quota: None,
        made: 0,
        rework: 0,
        reworked: 0,
        rate_per_minute: None,
        not_before: None,
        expires: None,
        permissions: Vec::new(),
        state: AccessState::Active,
        created_at: jiff::Timestamp::now(),
    };
    ledger.access_create(access).await.expect("kept");
    let policies = BTreeMap::from([("any".to_owned(), Policy::parse("any", "").expect("reads"))]);
    (Registrar::new(Arc::new(ledger), BTreeMap::new(), policies), code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_trusts_its_certificate_is_served_over_tls() {
    let dir = tempfile::tempdir().expect("a folder");
    let (registrar, code) = registrar(&dir).await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("made");
    let cert = made.cert.pem();
    let tls = Some((cert.clone().into_bytes(), made.signing_key.serialize_pem().into_bytes()));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let running = start_with(registrar, Limits::none(), Network::default(), Listen { listener, tls }).await.expect("starts");
    assert_eq!(running.url.scheme(), "https");
    let options = ClientOptions {
        service: running.url.clone(),
        code,
        ca_file_pem: Some(cert.into_bytes()),
        patience: Duration::ZERO,
        user_agent: "test".into(),
    };
    let info = Client::new(options).expect("a client").access().await.expect("answers");
    assert_eq!(info.name, "line-1");
    running.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_away_from_loopback_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let (registrar, _) = registrar(&dir).await;
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let refused = start_with(registrar, Limits::none(), Network::default(), Listen { listener, tls: None }).await;
    assert!(refused.is_err_and(|error| error.to_string().starts_with("plain HTTP is served on loopback only")));
}
