//! A proxy in front of the service that takes a prefix off the path, and a station's client behind it.

use qdrs_core::{client::ClientError, explain::Explain as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener as Listener, TcpStream},
};

use super::*;

/// Forwards each connection, and `GET /qdrs/v1/…` as `GET /v1/…`. Returns where it listens.
async fn strips_prefix(service: &Url) -> Url {
    let to = format!("{}:{}", service.host_str().expect("a host"), service.port().expect("a port"));
    let listener = Listener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut service = TcpStream::connect(&to).await.expect("the service");
            tokio::spawn(async move {
                let mut head = vec![0; 16 * 1024];
                let length = client.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).replacen(" /qdrs/", " /", 1);
                let _ = service.write_all(head.as_bytes()).await;
                let (mut from_client, mut to_client) = client.split();
                let (mut from_service, mut to_service) = service.split();
                tokio::select! {
                    _ = copy(&mut from_client, &mut to_service) => {}
                    _ = copy(&mut from_service, &mut to_client) => {}
                }
            });
        }
    });
    Url::parse(&format!("http://{address}/qdrs")).expect("a URL")
}

/// What a station's client gets through that proxy, the service having these settings.
async fn asked(network: Network) -> Result<(), ClientError> {
    let dir = tempfile::tempdir().expect("a folder");
    let (registrar, code) = registrar(&dir).await;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let running = start_with(registrar, Limits::none(), network, Listen { listener, tls: None }).await.expect("starts");
    let options = ClientOptions {
        service: strips_prefix(&running.url).await,
        code,
        ca_file_pem: None,
        patience: Duration::ZERO,
        user_agent: "test".into(),
    };
    Client::new(options).expect("a client").access().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_behind_a_proxy_that_strips_a_prefix_is_served_or_told_the_owners_setting() {
    let error = asked(Network::default()).await.expect_err("what was signed is not what arrived");
    assert_eq!(
        error.to_string(),
        "the request was changed on the way: `GET /qdrs/v1/access` was signed, and `GET /v1/access` arrived"
    );
    assert!(error.help().contains("the owner sets `path_prefix = \"/qdrs\"`"), "{}", error.help());
    asked(Network { path_prefix: "/qdrs".into(), ..Network::default() }).await.expect("answers");
}
