//! Further settings and the three endings against the scripted peer: the branches that a real MicroPython takes too seldom.

use std::sync::Arc;

use qdrs_core::{
    api::Code,
    connection_string::{DeviceConnectionString, DeviceKey},
    explain::Explain,
};
use zeroize::Zeroizing;

use super::{
    peer::{Options, Peer},
    *,
};

fn credential() -> DeviceConnectionString {
    DeviceConnectionString { host_name: "h.example".to_owned(), device_id: "QD-1".to_owned(), key: DeviceKey::generate() }
}

fn some() -> ButtonSettings {
    let mut settings = ButtonSettings::default();
    let long = format!("\"{}\"", "'''ä\\\\".repeat(100));
    for (name, value) in [("ssid", "line 3"), ("FWnumber", "101"), ("userjson", &long)] {
        settings.give(name, Given::Text(Zeroizing::new(value.to_owned()))).expect("is right");
    }
    settings
}

fn slot(ending: Ending, further: ButtonSettings, options: Options) -> (Peer, Texxmo) {
    let peer = Peer::start(options);
    let slot = Texxmo::open(&peer.port, ending, Cancel::of(Arc::default())).expect("opens").with(Arc::new(further));
    (peer, slot)
}

/// Asks until the button answers: a busy machine may take longer than the driver waits.
fn await_presence(slot: &mut Texxmo) {
    let deadline = after(30_000);
    while !slot.present().expect("asks") {
        assert!(Instant::now() < deadline, "has gone");
    }
}

/// Up to what comes after the write.
fn written(slot: &mut Texxmo) -> Result<(), DeviceError> {
    slot.identify()?;
    let credential = credential();
    slot.write(&credential)?;
    let found = slot.read_back()?.expect("is there");
    assert_eq!(*found.reveal(), *credential.reveal());
    Ok(())
}

#[test]
fn further_settings_cross_in_pieces_and_are_written_with_the_credential() {
    let (peer, mut slot) = slot(Ending::PowerOff, some(), Options::default());
    written(&mut slot).expect("is written");
    let seen = peer.seen();
    assert_eq!(seen.further, *some().wire());
    assert_eq!(seen.ran.iter().filter(|piece| piece.starts_with("u=")).count(), seen.further.len().div_ceil(252));
    let place = |text: &str| seen.ran.iter().position(|piece| piece.contains(text)).expect("was run");
    assert!(place("u=ub.") < place("if u:") && place("if u:") < place(",*M[1])"));
}

#[test]
fn a_button_that_was_only_identified_can_be_ended() {
    for ending in Ending::ALL {
        let restart_at = Some(("machine.reset", true));
        let (peer, mut slot) = slot(ending, ButtonSettings::default(), Options { restart_at, ..Options::default() });
        slot.identify().expect("is there");
        slot.finish().unwrap_or_else(|error| panic!("{ending:?}: {error}"));
        assert!(peer.seen().values.is_none());
    }
}

#[test]
fn without_further_settings_nothing_of_them_crosses() {
    let (peer, mut slot) = slot(Ending::PowerOff, ButtonSettings::default(), Options::default());
    written(&mut slot).expect("is written");
    slot.finish().expect("ends");
    let ran = peer.seen().ran;
    for piece in ["u=", "if u:", "*M", "c.q", "hasattr(c"] {
        assert!(!ran.iter().any(|text| text.contains(piece)), "{piece}");
    }
}

#[test]
fn further_settings_that_do_not_come_back_are_a_failure() {
    let says = vec![("r=W(", "h.example|QD-1|AAAA|0123")];
    let (_peer, mut slot) = slot(Ending::PowerOff, some(), Options { says, ..Options::default() });
    let error = written(&mut slot).expect_err("differs");
    assert_eq!(error.code(), Code::DeviceUnverified);
    assert!(error.to_string().contains("further settings"), "{error}");
}

#[test]
fn what_the_button_found_wrong_in_its_file_is_not_laid_on_the_further_settings() {
    let (_peer, mut slot) = slot(Ending::PowerOff, some(), Options { says: vec![("r=W(", "cfg")], ..Options::default() });
    let error = written(&mut slot).expect_err("differs");
    assert!(error.touched() && error.to_string().contains("its settings are not what was written"), "{error}");
}

#[test]
fn a_byte_of_the_further_settings_garbled_or_lost_costs_time_and_nothing_else() {
    let whole = |options| {
        let (peer, mut slot) = slot(Ending::PowerOff, some(), options);
        (written(&mut slot), peer.seen())
    };
    let total = whole(Options::default()).1.host_bytes;
    let steps: Vec<usize> = (0..total).step_by(if cfg!(debug_assertions) { 97 } else { 3 }).collect();
    std::thread::scope(|scope| {
        for group in steps.chunks(steps.len().div_ceil(8)) {
            scope.spawn(move || {
                for &at in group {
                    for options in
                        [Options { flip_at: Some(at), ..Options::default() }, Options { lose_at: Some(at), ..Options::default() }]
                    {
                        match whole(options) {
                            (Ok(()), seen) => assert_eq!(seen.further, *some().wire(), "byte {at} of {total}"),
                            // What the rest is sealed with came garbled: as good as a restart.
                            (Err(error), seen) => assert!(
                                error.code() == Code::DeviceGone && !error.touched() && seen.further.is_empty(),
                                "byte {at} of {total}: {error}"
                            ),
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn a_button_that_is_left_stands_at_its_friendly_prompt_and_is_still_seen() {
    let (peer, mut slot) = slot(Ending::Leave, ButtonSettings::default(), Options::default());
    written(&mut slot).expect("is written");
    slot.finish().expect("is left");
    let ran = peer.seen().ran;
    assert!(ran.first().expect("was run").contains("c.q=c.shutdown"), "kept before it is replaced");
    assert!(ran.last().expect("was run").contains("c.print,c.shutdown=print,c.q"));
    await_presence(&mut slot);
    await_presence(&mut slot);
    assert_eq!(peer.seen().ran.len(), ran.len(), "an empty line runs nothing");
    let error = slot.write(&credential()).expect_err("is not known any more");
    assert_eq!((error.code(), error.touched()), (Code::DeviceGone, false));
    slot.identify().expect("is found again");
    await_presence(&mut slot);
}

#[test]
fn a_button_that_does_not_leave_raw_mode_is_said() {
    let (_peer, mut slot) = slot(Ending::Leave, ButtonSettings::default(), Options { stays_raw: true, ..Options::default() });
    written(&mut slot).expect("is written");
    assert_eq!(slot.finish().expect_err("does not leave").code(), Code::DeviceGone);
    // It is still there, at its raw prompt.
    await_presence(&mut slot);
}

#[test]
fn a_reset_button_is_asked_what_it_started_with() {
    let reset = |says: Vec<(&'static str, &'static str)>, restart_at| {
        let (peer, mut slot) = slot(Ending::Reset, ButtonSettings::default(), Options { says, restart_at, ..Options::default() });
        written(&mut slot).expect("is written");
        let proved = slot.prove();
        if proved.is_ok() {
            let ran = peer.seen().ran.len();
            slot.finish().expect("has ended already");
            assert_eq!(peer.seen().ran.len(), ran, "it is not started twice");
        }
        await_presence(&mut slot);
        (proved.map_err(|error| (error.code(), error.to_string())), peer)
    };
    let loudly = || Some(("machine.reset()", true));

    let (proved, peer) = reset(Vec::new(), loudly());
    assert_eq!(proved, Ok(()));
    let ran = peer.seen().ran;
    assert!(ran.last().expect("was run").starts_with("import setting,"), "nothing is stopped or replaced after the start");

    let other = format!("0|{0}#0|{0}", "f".repeat(64));
    let differs = format!("2|{0}#2|{0}", peer::WRITTEN);
    for (says, text) in
        [(other, "`config.json` is not what was written"), (differs, "other settings than those in `config.json`")]
    {
        let (proved, _) = reset(vec![("import setting,", says.leak())], loudly());
        let (code, said) = proved.expect_err("is wrong");
        assert!(code == Code::DeviceUnverified && said.contains(text), "{said}");
    }
    let (proved, _) = reset(vec![("import setting,", "0|a#0|b")], loudly());
    assert_eq!(proved.expect_err("is garbled").0, Code::DeviceUnverified);
    let (proved, _) = reset(vec![("import setting,", "OSError: [Errno 2] ENOENT")], loudly());
    assert!(proved.expect_err("has no file").1.contains("OSError 2"));
    let (proved, _) = reset(Vec::new(), None);
    let (code, said) = proved.expect_err("goes on without a start");
    assert!(code == Code::DeviceGone && said.contains("did not start again"), "{said}");
}
