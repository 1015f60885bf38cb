//! A full run leaves no key anywhere but in the device, the hub and the file that was asked for by name.

use std::{collections::BTreeSet, path::Path};

use qdrs_core::connection_string::DeviceConnectionString;
use qdrs_tests::{Bench, Cloud, Station, serials};

/// Every way a key could be written down.
fn forms(held: &DeviceConnectionString) -> Vec<Vec<u8>> {
    let (bytes, text) = (held.key.as_bytes().to_vec(), held.key.to_base64());
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    // The text without its padding is in the URL-encoded form, too, unless it holds `+` or `/`.
    let encoded = text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let url_safe = data_encoding::BASE64URL_NOPAD.encode(&bytes);
    let bare = text.trim_end_matches('=').to_owned();
    vec![bytes, bare.into_bytes(), hex.to_uppercase().into_bytes(), hex.into_bytes(), encoded.into_bytes(), url_safe.into_bytes()]
}

fn files_below(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("the folder reads") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).expect("the file reads")));
        }
    }
}

fn assert_absent(places: &[(String, Vec<u8>)], secrets: &[Vec<u8>]) {
    for (place, bytes) in places {
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_slice());
            assert!(!found, "a secret is in {place}");
        }
    }
}

/// Command lines and environments of a process, as any process of the same user can read them.
#[cfg(target_os = "linux")]
fn seen_from_outside(pid: u32) -> Vec<(String, Vec<u8>)> {
    ["cmdline", "environ"]
        .into_iter()
        .filter_map(|what| Some((format!("/proc/{pid}/{what}"), std::fs::read(format!("/proc/{pid}/{what}")).ok()?)))
        .collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_run_leaves_no_key_behind() {
    let cloud = Cloud::start().await;
    let code_file = cloud.access_code("line-1", &[]);
    let station = Station::new("line-1", &cloud.url(), &code_file);
    let (serials, bench) = (serials(24), Bench::with(4));
    let batch = station.batch(&serials);

    // While it runs: the process list, again and again.
    let mut running = station.provision(&batch, &bench);
    let (station_pid, service_pid) = (running.pid().expect("it runs"), cloud.service_pid().expect("it runs"));
    let mut seen = Vec::new();
    let mut events = Vec::new();
    while let Some(event) = running.event().await {
        seen.extend(seen_from_outside(station_pid));
        seen.extend(seen_from_outside(service_pid));
        events.extend(event.to_string().into_bytes());
    }
    let ended = running.ends().await.with_code(0);
    assert!(seen.len() > 40, "the process list was not looked at");

    // A credential asked for by name is in that file, mode 0600, and in no other.
    let asked_for = tempfile::tempdir().expect("a folder");
    let out = asked_for.path().join("device.connection");
    let by_name = qdrs_tests::serials(25).pop().expect("one more");
    station.run(&["register", &by_name, "--out", out.to_str().expect("UTF-8")]).await.with_code(0);
    let text = std::fs::read_to_string(&out).expect("the file is there");
    let asked = DeviceConnectionString::parse(text.trim()).expect("it holds a connection string");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&out).expect("it is there").permissions());
    assert_eq!(mode & 0o777, 0o600);

    for report in [["report", "--format", "table"], ["report", "--format", "csv"], ["report", "--format", "json"]] {
        let printed = station.run(&report).await.with_code(0);
        seen.push((report.join(" "), [printed.stdout, printed.stderr].concat().into_bytes()));
    }
    let status = station.run(&["status", &by_name]).await.with_code(0);
    seen.push(("status".into(), [status.stdout, status.stderr].concat().into_bytes()));
    seen.push(("--json".into(), events));
    seen.push(("what people were told".into(), [ended.stdout, ended.stderr].concat().into_bytes()));
    files_below(station.home(), &mut seen);

    let held = [bench.held(), vec![asked]].concat();
    assert_eq!(held.iter().map(|held| held.device_id.clone()).collect::<BTreeSet<_>>().len(), 25);
    let keys: Vec<_> = held.iter().flat_map(forms).collect();
    let mut of_the_service = Vec::new();
    files_below(cloud.folder(), &mut of_the_service);
    let ledger: usize =
        of_the_service.iter().filter(|(place, _)| place.contains("ledger.sqlite")).map(|(_, bytes)| bytes.len()).sum();
    assert!(ledger > 50_000, "the ledger with its log was not looked at");
    assert!(of_the_service.iter().any(|(place, bytes)| place.ends_with("service.log") && !bytes.is_empty()));
    assert_absent(&seen, &keys);
    assert_absent(&of_the_service, &keys);

    // The search itself finds what is there.
    let found = std::panic::catch_unwind(|| assert_absent(&[("out".into(), text.clone().into_bytes())], &keys));
    assert!(found.is_err(), "the search can't find a key");

    // The access code and the owner's key are only where they were put.
    let code = std::fs::read_to_string(&code_file).expect("the code").trim().to_owned();
    assert_absent(&seen, &[code.clone().into_bytes()]);
    let owner_key = cloud.hub.owner_http.reveal().rsplit("SharedAccessKey=").next().expect("a key").to_owned();
    let elsewhere: Vec<_> =
        of_the_service.into_iter().filter(|(place, _)| !place.ends_with(".code") && !place.ends_with("hub-connection")).collect();
    assert_absent(&elsewhere, &[code.into_bytes(), owner_key.clone().into_bytes()]);
    assert_absent(&seen, &[owner_key.into_bytes()]);
}
