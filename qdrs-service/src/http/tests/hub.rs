//! What a station reads when the hub refuses the service: real client, real sockets, the emulator told what to answer.

use super::*;
use crate::emulator::{Fault, Operation, Rule};

fn refuse(status: u16, code: &str, text: &str) -> Fault {
    Fault::Refuse { status, code: code.into(), text: text.into() }
}

impl World {
    /// The problem of a registration under these faults.
    async fn refused(&self, serial: &str, rules: impl IntoIterator<Item = Rule>) -> Problem {
        self.emulator.faults.clear();
        rules.into_iter().for_each(|rule| self.emulator.faults.add(rule));
        let holder = self.station(serial).await;
        let answer = self.put(&holder, serial, "{}").await;
        answer.problem();
        answer.json()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_in_which_the_hub_refuses_the_service_has_its_own_code_and_sentence() {
    let world = World::new().await;
    let unauthorized = |text| refuse(401, "IotHubUnauthorizedAccess", text);
    for (number, (fault, code, says)) in [
        (unauthorized("Unauthorized"), "hub-refuses-owner", "does not take the key of policy `iothubowner`: Unauthorized"),
        (unauthorized("Local authentication is disabled"), "hub-keys-off", "has shared keys switched off"),
        (unauthorized("Public network access is disabled"), "hub-network-denied", "a network rule of localhost"),
        (
            refuse(403, "", "<h1>Forbidden</h1>"),
            "hub-network-denied",
            "or a proxy before it, refuses the service: it answers 403",
        ),
        (refuse(403, "OperationNotAvailableInCurrentTier", "No"), "hub-refuses", "refuses the call: No"),
        (refuse(410, "Gone", "Gone"), "hub-not-found", "there is no IoT Hub at localhost"),
    ]
    .into_iter()
    .enumerate()
    {
        let serial = format!("QD-{number:04}");
        let problem = world.refused(&serial, [Rule::new(fault).always()]).await;
        assert_eq!((problem.code.as_str(), problem.status), (code, 503), "{}", problem.detail);
        assert!(problem.detail.contains(says), "{}", problem.detail);
        assert!(!problem.detail.contains("SharedAccessKey="), "{}", problem.detail);
    }
    assert!(world.emulator.identities().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_device_gets_the_service_name_and_a_setting_says_which_name_it_gets() {
    let service = "contoso.service.azure-devices.net";
    for (which, host) in [
        ("classic", "contoso.azure-devices.net"),
        ("device", "contoso.device.azure-devices.net"),
        ("hub.private.example", "hub.private.example"),
    ] {
        let which = which.parse().expect("a setting");
        let world = World::over(Limits::none(), service, |hub| hub.with_device_host(&which).expect("a name")).await;
        let line = world.station("line-1").await;
        let made: Registration = world.put(&line, "QD-0001", "{}").await.json();
        let opened = open_registration(&line.code, "QD-0001", line.job, &made).expect("opens");
        assert_eq!((made.hub.as_str(), opened.host_name.as_str()), (host, host));
        // The books know the hub by the one name that identifies it.
        let status: qdrs_core::api::SerialStatus = world.get(&line, "/v1/devices/QD-0001").await.json();
        assert_eq!(status.hub.as_deref(), Some("contoso.azure-devices.net"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_may_read_and_not_write_is_named_as_such() {
    let world = World::new().await;
    // The read that tells it apart is answered; only creating is refused.
    let rule = Rule::new(refuse(401, "IotHubUnauthorizedAccess", "Unauthorized")).on(Operation::Create).always();
    let problem = world.refused("QD-0001", [rule]).await;
    assert_eq!(problem.code, "hub-right-missing");
    assert!(problem.detail.contains("lacks the right `registry write`"), "{}", problem.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_not_found_for_a_moment_stops_no_batch() {
    let world = World::new().await;
    world.emulator.faults.add(Rule::new(refuse(401, "IotHubNotFound", "Unauthorized")).times(3));
    let line = world.station("line-1").await;
    assert_eq!(world.put(&line, "QD-0001", "{}").await.status, 201);
    assert_eq!(world.emulator.faults.fired(), 3);

    let problem = world.refused("QD-0002", [Rule::new(refuse(401, "IotHubNotFound", "Unauthorized")).always()]).await;
    assert_eq!((problem.code.as_str(), problem.retry_after), ("hub-not-found", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_clock_is_named_with_its_side_and_nobody_elses() {
    let world = World::new().await;
    world.emulator.set_clock_offset(2 * 3600);
    let problem = world.refused("QD-0001", []).await;
    assert_eq!(problem.code, "service-clock-wrong");
    assert!(problem.detail.contains(" s behind the clock of localhost"), "{}", problem.detail);
    assert!(!format!("{problem:?}").contains("station's clock"), "{problem:?}");
    let apart: i64 = problem.detail.split(' ').find_map(|word| word.parse().ok()).expect("an amount");
    assert!((7190..=7210).contains(&apart), "{apart}");
}
