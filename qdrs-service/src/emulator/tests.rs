//! The emulator from outside, over its sockets: tokens, the registry's rules, the device side, faults, the store.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use qdrs_core::{
    connection_string::{DeviceKey, OwnerConnectionString},
    sas,
};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::{Emulator, EmulatorOptions, Fault, Operation, Rule, Running, Tier};

const VERSION: &str = "api-version=2021-04-12";

/// A hub and its owner, who signs each call anew.
struct World {
    hub: Running,
    client: Client,
}

/// An answer that was read whole.
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Value,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("reads the body");
        Self { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    fn code(&self) -> &str {
        self.headers.get("iothub-errorcode").map_or("", |value| value.to_str().expect("is text"))
    }

    /// Status and code, for one comparison.
    fn outcome(&self) -> (u16, &str) {
        (self.status, self.code())
    }
}

fn in_an_hour() -> i64 {
    Timestamp::now().as_second() + 3600
}

fn owner_token(owner: &OwnerConnectionString, expires: i64) -> String {
    sas::token(&owner.host_name, owner.key(), expires, Some(&owner.key_name)).to_string()
}

impl World {
    async fn new() -> Self {
        Self::with(EmulatorOptions::default()).await
    }

    async fn with(options: EmulatorOptions) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let hub = Emulator::start(options).await.expect("starts");
        let mut client = Client::builder().no_proxy();
        if let Some(pem) = &hub.ca_pem {
            client = client.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).expect("is a certificate")]);
        }
        Self { hub, client: client.build().expect("builds") }
    }

    fn url(&self, path: &str) -> String {
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("{}{path}{mark}{VERSION}", self.hub.http_url)
    }

    async fn send(&self, token: &str, method: &str, path: &str, if_match: Option<&str>, body: Value) -> reqwest::Result<Answer> {
        let method = Method::from_bytes(method.as_bytes()).expect("is a method");
        let mut request = self.client.request(method, self.url(path)).header("authorization", token);
        if let Some(etag) = if_match {
            request = request.header("if-match", etag);
        }
        if !body.is_null() {
            request = request.header("content-type", "application/json; charset=utf-8").body(body.to_string());
        }
        Ok(Answer::read(request.send().await?).await)
    }

    /// As the owner.
    async fn call(&self, method: &str, path: &str, if_match: Option<&str>, body: Value) -> Answer {
        let token = owner_token(&self.hub.owner, in_an_hour());
        self.send(&token, method, path, if_match, body).await.expect("is answered")
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None, Value::Null).await
    }

    async fn create(&self, id: &str) -> Answer {
        self.call("PUT", &format!("/devices/{id}"), None, json!({"deviceId": id})).await
    }

    async fn device_sends(&self, id: &str, key: &DeviceKey) -> (u16, String) {
        let token = sas::token(&format!("localhost/devices/{id}"), key.as_bytes(), in_an_hour(), None);
        let answer = self.send(&token, "POST", &format!("/devices/{id}/messages/events"), None, json!({"t": 1})).await;
        let answer = answer.expect("is answered");
        (answer.status, answer.code().to_owned())
    }
}

#[tokio::test]
async fn an_identity_is_created_read_updated_and_deleted_as_the_hub_does_it() {
    let world = World::new().await;
    let created = world.create("dev1").await;
    assert_eq!((created.status, &created.body["deviceId"], &created.body["status"]), (200, &json!("dev1"), &json!("enabled")));
    assert!(created.headers["content-type"].to_str().expect("is text").contains("application/json"));
    assert!(created.headers.contains_key("x-ms-request-id"));
    let etag = created.body["etag"].as_str().expect("has one").to_owned();
    assert_eq!(created.headers["etag"].to_str().expect("is text"), format!("\"{etag}\""));

    let again = world.create("dev1").await;
    assert_eq!(again.outcome(), (409, "DeviceAlreadyExists"));
    assert_eq!(again.body["Message"], "ErrorCode:DeviceAlreadyExists;A device with ID 'dev1' is already registered.");
    assert!(again.body["ExceptionMessage"].as_str().expect("is text").starts_with("Tracking ID:"));

    let read = world.get("/devices/dev1").await;
    assert_eq!(read.body, created.body);

    // Sent back whole with its etag: the keys stay, the etag moves, the generation does not.
    let mut changed = read.body.clone();
    changed["status"] = json!("disabled");
    let updated = world.call("PUT", "/devices/dev1", Some(&format!("\"{etag}\"")), changed.clone()).await;
    assert_eq!((updated.status, &updated.body["status"]), (200, &json!("disabled")));
    assert_eq!(updated.body["authentication"], read.body["authentication"]);
    assert_eq!(updated.body["generationId"], read.body["generationId"]);
    assert_ne!(updated.body["etag"], read.body["etag"]);

    assert_eq!(world.call("PUT", "/devices/dev1", Some(&etag), changed.clone()).await.outcome(), (412, "PreconditionFailed"));
    assert_eq!(world.call("DELETE", "/devices/dev1", Some(&etag), Value::Null).await.outcome(), (412, "PreconditionFailed"));
    let without = world.call("DELETE", "/devices/dev1", None, Value::Null).await;
    assert_eq!((without.status, &without.body["Message"]), (412, &json!("ErrorCode:PreconditionFailed;Etag missing")));

    let deleted = world.call("DELETE", "/devices/dev1", Some("\"*\""), Value::Null).await;
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    let gone = world.get("/devices/dev1").await;
    assert_eq!((gone.outcome(), &gone.body["Message"]), ((404, "DeviceNotFound"), &json!("ErrorCode:DeviceNotFound;dev1")));
    assert_eq!(world.call("PUT", "/devices/dev1", Some("*"), changed).await.outcome(), (404, "DeviceNotFound"));
    assert_eq!(world.call("DELETE", "/devices/dev1", Some("*"), Value::Null).await.outcome(), (404, "DeviceNotFound"));

    let reborn = world.create("dev1").await;
    assert_ne!(reborn.body["generationId"], created.body["generationId"]);
}

#[tokio::test]
async fn an_update_without_authentication_mints_new_keys_and_plain_put_stores_no_tags() {
    let world = World::new().await;
    let created = world.call("PUT", "/devices/d", None, json!({"deviceId": "d", "tags": {"a": 1}})).await;
    let updated = world.call("PUT", "/devices/d", Some("*"), json!({"deviceId": "d", "status": "enabled"})).await;
    assert_ne!(updated.body["authentication"]["symmetricKey"], created.body["authentication"]["symmetricKey"]);
    assert_eq!(world.get("/twins/d").await.body.get("tags"), None);
}

#[tokio::test]
async fn bad_requests_have_the_hubs_codes() {
    let world = World::new().await;
    let put = async |body| world.call("PUT", "/devices/d", None, body).await;
    assert_eq!(put(json!({"deviceId": "other"})).await.outcome(), (400, "ArgumentInvalid"));
    assert_eq!(put(json!({"deviceId": 7})).await.outcome(), (400, "DeserializationError"));
    assert_eq!(put(Value::Null).await.outcome(), (400, "IotHubFormatError"));
    assert_eq!(world.call("PUT", "/devices/a%20b", None, json!({})).await.outcome(), (400, "ArgumentInvalid"));
    let keys = json!({"symmetricKey": {"primaryKey": "AA==", "secondaryKey": "AA=="}});
    let short = put(json!({"deviceId": "d", "authentication": keys})).await;
    assert_eq!(short.body["Message"], "ErrorCode:ArgumentInvalid;Invalid device key length");
    assert!(world.hub.registry.is_empty());

    let token = owner_token(&world.hub.owner, in_an_hour());
    let bare = world.client.get(format!("{}/devices/d", world.hub.http_url)).header("authorization", token).send().await;
    assert_eq!(Answer::read(bare.expect("is answered")).await.outcome(), (400, "InvalidProtocolVersion"));
}

#[tokio::test]
async fn lists_with_or_without_a_slash_are_the_same_and_statistics_count() {
    let world = World::new().await;
    for id in ["a", "b", "c"] {
        world.create(id).await;
    }
    world.hub.registry.set_enabled("b", false);
    let all = world.get("/devices").await;
    assert_eq!(all.body.as_array().map(Vec::len), Some(3));
    assert_eq!(world.get("/devices/").await.body, all.body);
    for (top, count) in [("2", 2), ("0", 3), ("5000", 3), ("x", 3)] {
        assert_eq!(world.get(&format!("/devices?top={top}")).await.body.as_array().map(Vec::len), Some(count), "top={top}");
    }
    let counts = json!({"totalDeviceCount": 3, "enabledDeviceCount": 2, "disabledDeviceCount": 1});
    assert_eq!(world.get("/statistics/devices").await.body, counts);
    assert_eq!(world.get("/statistics/service").await.body, json!({"connectedDeviceCount": 0}));
}

#[tokio::test]
async fn a_query_goes_through_all_pages() {
    let world = World::new().await;
    for n in 0..5 {
        world.create(&format!("d{n}")).await;
    }
    let token = owner_token(&world.hub.owner, in_an_hour());
    let (mut seen, mut continuation) = (Vec::new(), String::new());
    loop {
        let request =
            world.client.post(world.url("/devices/query")).header("authorization", &token).header("x-ms-max-item-count", "2");
        let request = request.header("x-ms-continuation", &continuation).body(r#"{"query":"SELECT * FROM devices"}"#);
        let answer = Answer::read(request.send().await.expect("is answered")).await;
        assert_eq!((answer.status, answer.headers["x-ms-item-type"].to_str().expect("is text")), (200, "Twin"));
        seen.extend(answer.body.as_array().expect("is an array").iter().map(|twin| twin["deviceId"].clone()));
        match answer.headers.get("x-ms-continuation") {
            Some(next) => continuation = next.to_str().expect("is text").to_owned(),
            None => break,
        }
    }
    assert_eq!(json!(seen), json!(["d0", "d1", "d2", "d3", "d4"]));
    let other = world.call("POST", "/devices/query", None, json!({"query": "SELECT COUNT() FROM devices"})).await;
    assert_eq!(other.outcome(), (400, "ArgumentInvalid"));
}

#[tokio::test]
async fn twins_are_patched_and_replaced_and_leave_the_identity_alone() {
    let world = World::new().await;
    let created = world.create("d").await;
    let fresh = world.get("/twins/d").await;
    assert_eq!((&fresh.body["deviceEtag"], &fresh.body["etag"]), (&created.body["etag"], &json!("AAAAAAAAAAE=")));
    assert!(fresh.body.get("tags").is_none() && !fresh.body.to_string().contains("Key"), "no keys in a twin");

    let patched = world.call("PATCH", "/twins/d", Some("\"AAAAAAAAAAE=\""), json!({"tags": {"x": 1}})).await;
    assert_eq!((patched.status, &patched.body["tags"]), (200, &json!({"x": 1})));
    assert_eq!(patched.body["deviceEtag"], created.body["etag"]);
    let stale = world.call("PATCH", "/twins/d", Some("\"AAAAAAAAAAE=\""), json!({"tags": {"x": 2}})).await;
    assert_eq!(stale.outcome(), (412, "PreconditionFailed"));
    let replaced = world.call("PUT", "/twins/d", None, json!({"tags": {"y": 2}})).await;
    assert_eq!(replaced.body["tags"], json!({"y": 2}));
    assert_eq!(world.get("/twins/none").await.outcome(), (404, "DeviceNotFound"));
}

#[tokio::test]
async fn tokens_are_checked_as_the_hub_checks_them() {
    let world = World::new().await;
    world.create("d").await;
    let owner = &world.hub.owner;
    let key = world.hub.identities()[0].primary_key.clone().expect("has one");
    let outcome = async |token: &str, method: &str, path: &str| {
        world.send(token, method, path, None, Value::Null).await.expect("is answered").status
    };
    let signed = |resource: &str, key: &[u8], expires, name| sas::token(resource, key, expires, name).to_string();

    for host in ["localhost", "LOCALHOST", "127.0.0.1:443", "[::1]", "qdrs-emulator", "qdrs-emulator:8443", "localhost/devices/d"]
    {
        assert_eq!(
            outcome(&signed(host, owner.key(), in_an_hour(), Some("iothubowner")), "GET", "/devices/d").await,
            200,
            "{host}"
        );
    }
    let now = Timestamp::now().as_second();
    assert_eq!(outcome(&owner_token(owner, now - 240), "GET", "/devices/d").await, 200, "within the grace");
    for (why, token) in [
        ("no token", String::new()),
        ("garbage", "SharedAccessSignature x".into()),
        ("expired", owner_token(owner, now - 400)),
        ("another hub", signed("contoso.azure-devices.net", owner.key(), in_an_hour(), Some("iothubowner"))),
        ("another device's address", signed("localhost/devices/d2", owner.key(), in_an_hour(), Some("iothubowner"))),
        ("half a segment", signed("localhost/dev", owner.key(), in_an_hour(), Some("iothubowner"))),
        ("another key", signed("localhost", &[7; 32], in_an_hour(), Some("iothubowner"))),
        ("another policy", signed("localhost", owner.key(), in_an_hour(), Some("nobody"))),
        ("a device's token", signed("localhost/devices/d", key.as_bytes(), in_an_hour(), None)),
    ] {
        let answer = world.send(&token, "GET", "/devices/d", None, Value::Null).await.expect("is answered");
        assert_eq!(answer.outcome(), (401, "IotHubUnauthorizedAccess"), "{why}");
        assert!(answer.headers.contains_key("www-authenticate"), "{why}");
    }
    let may = async |policy: &str, method: &str, path: &str| {
        let policy = world.hub.connection_string("localhost", policy).expect("is there");
        outcome(&owner_token(&policy, in_an_hour()), method, path).await != 401
    };
    assert!(may("registryRead", "GET", "/devices/d").await && !may("registryRead", "DELETE", "/devices/d").await);
    assert!(may("registryReadWrite", "DELETE", "/devices/d").await && !may("registryReadWrite", "GET", "/twins/d").await);
    assert!(may("service", "GET", "/twins/d").await && !may("service", "GET", "/devices/d").await);
    assert!(may("device", "POST", "/devices/d/messages/events").await && !may("device", "GET", "/devices/d").await);
}

#[tokio::test]
async fn a_call_that_is_not_supported_is_named_so_whatever_its_token() {
    let world = World::new().await;
    world.create("d").await;
    let thumbprint = json!({"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "A".repeat(40)}});
    world.call("PUT", "/devices/certified", None, json!({"deviceId": "certified", "authentication": thumbprint})).await;
    let key = world.hub.identities().into_iter().find_map(|known| known.primary_key).expect("one has a key");
    let policy = |name| owner_token(&world.hub.connection_string("localhost", name).expect("is there"), in_an_hour());
    let own = sas::token("localhost/devices/d", key.as_bytes(), in_an_hour(), None).to_string();
    let (owner, bearer) = (policy("iothubowner"), "Bearer e30.e30.e30".to_owned());
    let not_supported = async |token: &str, method: &str, path: &str| {
        let mut request = world.client.request(Method::from_bytes(method.as_bytes()).expect("a method"), world.url(path));
        if !token.is_empty() {
            request = request.header("authorization", token);
        }
        let answer = Answer::read(request.body("{}").send().await.expect("is answered")).await;
        let message = answer.body["Message"].as_str().unwrap_or_default();
        answer.status == 400 && message == "ErrorCode:ArgumentInvalid;not supported by the emulator"
    };
    for token in [&owner, &policy("service"), &policy("device"), &policy("registryRead"), &own, &bearer, "", "nonsense"] {
        for (method, path) in [
            ("POST", "/jobs/create"),
            ("GET", "/jobs/v2/query"),
            ("GET", "/devices/d/modules"),
            ("PATCH", "/devices/d"),
            ("POST", "/twins/d/methods"),
            ("POST", "/twins/d"),
            ("PUT", "/configurations/c"),
            ("GET", "/digitaltwins/d"),
            ("GET", "/messages/serviceBound/feedback"),
            ("POST", "/devices/d/files"),
            ("DELETE", "/devices/d/messages/devicebound/lock"),
            ("GET", "/devices/d/messages/events"),
            ("DELETE", "/statistics/devices"),
        ] {
            assert!(not_supported(token, method, path).await, "{token} {method} {path}");
        }
    }
    for (method, path) in [("GET", "/devices/d"), ("PUT", "/devices/e"), ("POST", "/devices/query"), ("GET", "/twins/d")] {
        assert!(not_supported(&bearer, method, path).await, "a token of Entra ID, {method} {path}");
        assert!(!not_supported("", method, path).await, "no token, {method} {path}");
    }
    assert!(not_supported("", "POST", "/devices/certified/messages/events").await, "a device with a certificate");
    assert!(!not_supported("", "POST", "/devices/d/messages/events").await);
    assert_eq!(world.hub.registry.len(), 2, "nothing was changed");
}

#[tokio::test]
async fn a_message_shows_whether_a_key_is_live_or_dead() {
    let world = World::new().await;
    let (old, new) = (DeviceKey::generate(), DeviceKey::generate());
    assert!(world.hub.registry.add("dev1", &old) && world.hub.registry.add("dev2", &new));
    assert_eq!(world.device_sends("dev1", &old).await.0, 204);
    assert_eq!(world.device_sends("dev1", &new).await, (401, "IotHubUnauthorizedAccess".into()));
    assert_eq!(world.device_sends("unknown", &new).await.0, 401, "not 404");

    world.hub.registry.replace_keys("dev1", &new);
    assert_eq!((world.device_sends("dev1", &old).await.0, world.device_sends("dev1", &new).await.0), (401, 204));
    world.hub.registry.set_enabled("dev1", false);
    assert_eq!(world.device_sends("dev1", &new).await.0, 401);
    assert_eq!(world.hub.registry.identity("dev1").expect("is there").messages, 2);

    // A device's key signs for its own address only, not for the whole hub.
    let wide = sas::token("localhost", new.as_bytes(), in_an_hour(), None);
    let answer = world.send(&wide, "POST", "/devices/dev2/messages/events", None, json!({})).await.expect("is answered");
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_effect_and_a_lost_request_leaves_none() {
    let world = World::new().await;
    let token = owner_token(&world.hub.owner, in_an_hour());
    let put = async |id: &str| world.send(&token, "PUT", &format!("/devices/{id}"), None, json!({"deviceId": id})).await;

    world.hub.faults.add(Rule::new(Fault::DropAnswer).on(Operation::Create));
    assert!(put("a").await.is_err() && world.hub.registry.identity("a").is_some());
    world.hub.faults.add(Rule::new(Fault::DropRequest).on(Operation::Create));
    assert!(put("b").await.is_err() && world.hub.registry.identity("b").is_none());
    world.hub.faults.add(Rule::new(Fault::FailBefore).on(Operation::Create));
    assert_eq!(put("b").await.expect("is answered").outcome(), (503, "ServiceUnavailable"));
    world.hub.faults.add(Rule::new(Fault::FailAfter).on(Operation::Create));
    assert_eq!(put("b").await.expect("is answered").outcome(), (500, "ServerError"));
    assert_eq!(put("b").await.expect("is answered").outcome(), (409, "DeviceAlreadyExists"));
    world.hub.faults.add(Rule::new(Fault::Throttle { retry_after: None }));
    assert_eq!(put("c").await.expect("is answered").outcome(), (429, "ThrottlingBacklogTimeout"));
    world.hub.faults.add(Rule::new(Fault::Full));
    assert_eq!(put("c").await.expect("is answered").outcome(), (403, "IotHubQuotaExceeded"));
    assert_eq!(put("c").await.expect("is answered").status, 200);
    assert_eq!(world.hub.faults.fired(), 6);
}

#[tokio::test]
async fn a_delayed_call_is_done_though_its_caller_has_gone() {
    let world = World::new().await;
    world.hub.faults.add(Rule::new(Fault::Delay { ms: 100 }).on(Operation::Create));
    let token = owner_token(&world.hub.owner, in_an_hour());
    let done = async || {
        while world.hub.registry.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    // On a busy machine the caller may be gone before its call is sent; then it calls again.
    loop {
        let request = world.client.put(world.url("/devices/late")).header("authorization", &token).body(r#"{"deviceId":"late"}"#);
        assert!(request.timeout(Duration::from_millis(20)).send().await.is_err_and(|error| error.is_timeout()));
        if tokio::time::timeout(Duration::from_secs(1), done()).await.is_ok() {
            break;
        }
    }
    assert!(world.hub.registry.identity("late").is_some());
}

#[tokio::test]
async fn the_fault_switch_is_there_only_when_asked_for() {
    let closed = World::new().await;
    assert_ne!(closed.call("GET", "/_emulator/faults", None, Value::Null).await.status, 200);
    let world = World::with(EmulatorOptions { faults_over_http: true, ..EmulatorOptions::default() }).await;
    let at = async |method: &str, body| world.send("", method, "/_emulator/faults", None, body).await.expect("is answered");
    assert_eq!(at("POST", json!({"fault": "fail-before", "on": ["read"], "next": 1})).await.status, 200);
    assert_eq!(at("POST", json!([{"fault": "meteor"}])).await.status, 400);
    assert_eq!(world.get("/devices").await.status, 503);
    assert_eq!(world.get("/devices").await.status, 200);
    assert_eq!(at("GET", Value::Null).await.body[0]["fired"], 1);
    assert_eq!(at("DELETE", Value::Null).await.body, json!([]));
}

#[tokio::test]
async fn a_hub_that_is_full_takes_no_more() {
    let world = World::with(EmulatorOptions { devices_max: 1, ..EmulatorOptions::default() }).await;
    assert_eq!(world.create("a").await.status, 200);
    assert_eq!(world.create("b").await.outcome(), (403, "IotHubQuotaExceeded"));
    let bulk = world.call("POST", "/devices", None, json!([{"id": "b", "importMode": "create"}])).await;
    assert_eq!((bulk.code(), &bulk.body["errors"][0]["errorCode"]), ("BulkRegistryOperationFailure", &json!(403_002)));
}

#[tokio::test]
async fn https_is_trusted_by_the_emulators_own_authority_alone() {
    let folder = tempfile::tempdir().expect("temp dir");
    let options = EmulatorOptions { ca_dir: Some(folder.path().to_owned()), ..EmulatorOptions::with_https() };
    let world = World::with(options.clone()).await;
    let owner = world.hub.owner_https.clone().expect("is served");
    let url = format!("{}/devices?{VERSION}", world.hub.https_url.as_deref().expect("is served"));
    let list = async |client: &Client, url: &str, owner: &OwnerConnectionString| {
        client
            .get(url)
            .header("authorization", owner_token(owner, in_an_hour()))
            .send()
            .await
            .map(|answer| answer.status().as_u16())
    };
    assert_eq!(list(&world.client, &url, &owner).await.expect("is trusted"), 200);
    assert_eq!(list(&world.client, &url.replace("localhost", "127.0.0.1"), &owner).await.expect("is trusted"), 200);
    let stranger = World::with(EmulatorOptions::with_https()).await;
    assert!(list(&stranger.client, &url, &owner).await.is_err());

    // The same folder, another start: who trusted the old certificate trusts the new one.
    let World { hub, client } = world;
    hub.stop().await;
    let next = Emulator::start(options).await.expect("starts");
    let url = format!("{}/devices?{VERSION}", next.https_url.as_deref().expect("is served"));
    assert_eq!(list(&client, &url, &next.owner).await.expect("is trusted"), 200);
}

#[tokio::test]
async fn a_store_keeps_devices_twins_and_the_owners_key() {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("hub.db");
    let options = EmulatorOptions { store: Some(path.clone()), ..EmulatorOptions::default() };
    let world = World::with(options.clone()).await;
    let entries: Value = (0..50).map(|n| json!({"id": format!("d{n}"), "importMode": "create", "tags": {"n": n}})).collect();
    assert_eq!(world.call("POST", "/devices", None, entries).await.status, 200);
    world.call("DELETE", "/devices/d7", Some("*"), Value::Null).await;
    let before = world.get("/devices/d8").await.body;
    let owner = world.hub.owner.clone();
    world.hub.stop().await;

    let world = World::with(options).await;
    assert_eq!(world.hub.owner.key(), owner.key());
    assert_eq!((world.hub.registry.len(), world.get("/devices/d8").await.body), (49, before.clone()));
    assert_eq!(world.get("/twins/d8").await.body["tags"], json!({"n": 8}));
    let after = world.create("d7").await.body;
    assert!(after["etag"] != before["etag"] && after["generationId"].as_str() > before["generationId"].as_str());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    world.hub.stop().await;

    rusqlite::Connection::open(&path).expect("opens").execute_batch("PRAGMA user_version = 9").expect("writes");
    let newer = Emulator::start(EmulatorOptions { store: Some(path), ..EmulatorOptions::default() }).await;
    assert!(newer.is_err_and(|error| error.to_string().contains("version 9")));
}

#[tokio::test]
async fn plain_http_is_refused_beyond_loopback() {
    let options = EmulatorOptions { http: ([0, 0, 0, 0], 0).into(), ..EmulatorOptions::default() };
    assert!(Emulator::start(options).await.is_err());
}

#[tokio::test]
async fn of_many_creates_of_one_id_one_wins() {
    let world = Arc::new(World::new().await);
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.create("d").await.status })
        })
        .collect();
    let mut won = 0;
    for attempt in tries {
        won += usize::from(attempt.await.expect("ends") == 200);
    }
    assert_eq!((won, world.hub.registry.len()), (1, 1));
}

#[tokio::test]
async fn a_tier_counts_the_devices_of_a_bulk_call_and_refuses_after_a_wait() {
    let tier = Tier { per_minute: 6000, burst: 10, time_scale: 100.0 };
    let world = World::with(EmulatorOptions { tier: Some(tier), ..EmulatorOptions::default() }).await;
    let bulk = |count| (0..count).map(|n| json!({"id": format!("d{n}"), "importMode": "create"})).collect::<Value>();
    assert_eq!(world.call("POST", "/devices", None, bulk(10)).await.status, 200, "the burst is free");
    // 10,000 a second from here on, by the time scale; a hundred have to wait for 10 ms, which the queue allows.
    assert_eq!(world.call("POST", "/devices", None, bulk(100)).await.status, 400, "ten of them are there already");
    assert_eq!(world.hub.registry.len(), 100);

    world.hub.set_tier(Some(Tier { per_minute: 1, burst: 1, time_scale: 1000.0 }));
    assert_eq!(world.get("/devices/d0").await.status, 200);
    assert_eq!(world.call("POST", "/devices", None, bulk(5)).await.outcome(), (429, "ThrottlingBacklogTimeout"));
    assert_eq!(world.get("/twins/d0").await.status, 200, "twins have a limit of their own");
    world.hub.set_tier(None);
    assert_eq!(world.get("/devices/d0").await.status, 200);
}
