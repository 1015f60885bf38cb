//! The pipeline against the real service, its ledger and an emulated hub; only the devices are made of memory.

use std::{collections::HashSet, time::Duration};

use qdrs_core::{
    api::{Problem, SerialStatus},
    client::{Client, ClientError},
};

use super::*;
use crate::screen::ScreenOptions;
use world::{Board, Fault::*, FaultyService, Tray, World};

mod journals;
mod world;

const SERIALS: [&str; 6] = ["QD-0041713", "QD-0041720", "QD-0041727", "QD-0041734", "QD-0041741", "QD-0041748"];

#[tokio::test(flavor = "multi_thread")]
async fn all_pass_in_several_slots_and_a_second_run_asks_for_no_device() {
    let world = World::start().await;
    let trays = [Tray::with_boards(6), Tray::with_boards(6)];
    let (summary, outcome) = world.provision(&SERIALS, &trays).await;
    assert_eq!((summary.pass, outcome), (6, Outcome::AllPassed), "{summary:?}");
    world.each_serial_is_on_one_board(&SERIALS, &trays);
    assert!(trays.iter().all(|tray| tray.finished() > 0), "both slots worked");

    let (summary, outcome) = world.provision(&SERIALS, &[Tray::empty()]).await;
    assert_eq!((summary.done_before, summary.pass, outcome), (6, 0, Outcome::AllPassed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_never_comes_back_keeps_no_stopped_run_from_its_summary() {
    let world = World::start().await;
    let tray = Tray::of([Board::named("A").failing(NeverAnswers)]);
    let (stop, interrupt) = watch::channel(false);
    let stops = async {
        while tray.writes() == 0 {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
    };
    let trays = std::slice::from_ref(&tray);
    let run = world.provision_until(FaultyService::of(&world.client), &SERIALS[..1], trays, interrupt);
    let ((summary, outcome), ()) = tokio::join!(run, stops);
    assert_eq!((summary.left, summary.interrupted, outcome), (1, true, Outcome::Interrupted), "{summary:?}");

    // Its board may hold the credential: another one gets a new one.
    let tray = Tray::of([Board::named("B")]);
    let (summary, outcome) = world.provision(&SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!((summary.pass, outcome), (1, Outcome::AllPassed), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_confirmed_later_without_its_device() {
    let world = World::start().await;
    let tray = Tray::with_boards(1);
    let away = FaultyService::of(&world.client).refusing_confirmations(unreachable());
    let (summary, outcome) = world.provision_with(away, &SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!((summary.written, summary.pass, outcome), (1, 0, Outcome::Unreachable), "{summary:?}");

    let (summary, outcome) = world.provision(&SERIALS[..1], &[Tray::empty()]).await;
    assert_eq!((summary.pass, outcome), (1, Outcome::AllPassed), "{summary:?}");
    world.each_serial_is_on_one_board(&SERIALS[..1], &[tray]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_board_again_gets_the_same_credential_and_another_board_a_new_one() {
    for (same, take_overs) in [(true, 0), (false, 1)] {
        let world = World::start().await;
        let tray = Tray::of([Board::named("A").failing(GoneWhileWriting), Board::named("B")]);
        if same {
            tray.puts_failed_boards_in_again();
        }
        let service = FaultyService::of(&world.client);
        let (summary, outcome) = world.provision_with(service.clone(), &SERIALS[..1], std::slice::from_ref(&tray)).await;
        assert_eq!((summary.pass, outcome), (1, Outcome::AllPassed), "{summary:?}");
        assert_eq!(service.take_overs(), vec![job::MAYBE_ON_ANOTHER_BOARD; take_overs]);
        world.each_serial_is_on_one_board(&SERIALS[..1], &[tray]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_an_earlier_run_made_is_told_the_end_again_once() {
    let world = World::start().await;
    let (summary, _) = world.provision(&SERIALS[..1], &[Tray::of([Board::named("A")])]).await;
    assert_eq!(summary.pass, 1, "{summary:?}");
    // Whether it was told the end, a run that was killed did not say.
    let tray = Tray::of(["A", "A", "B"].map(Board::named));
    let (summary, outcome) = world.provision(&SERIALS[..2], std::slice::from_ref(&tray)).await;
    assert_eq!((summary.pass, outcome), (1, Outcome::AllPassed), "{summary:?}");
    assert_eq!((tray.writes(), tray.finished()), (1, 2), "A and B, each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_never_tells_its_name_counts_as_another_one() {
    let world = World::start().await;
    let tray = Tray::of([Board::anonymous().failing(GoneWhileWriting), Board::anonymous()]);
    let service = FaultyService::of(&world.client);
    let (summary, _) = world.provision_with(service.clone(), &SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!(summary.pass, 1, "{summary:?}");
    assert_eq!(service.take_overs(), [job::MAYBE_ON_ANOTHER_BOARD]);
    world.each_serial_is_on_one_board(&SERIALS[..1], &[tray]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_before_anything_was_written_costs_no_credential() {
    let world = World::start().await;
    let tray = Tray::of([Board::anonymous().failing(SilentWhenAsked), Board::anonymous()]);
    let service = FaultyService::of(&world.client);
    let (summary, _) = world.provision_with(service.clone(), &SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!((summary.pass, service.registrations()), (1, 1), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_devices_cost_one_serial_and_the_others_pass() {
    let world = World::start().await;
    // Each board gets a second chance; three attempts in all.
    let tray = Tray::of((0..2).map(|at| Board::named(&format!("bad {at}")).failing_always(HoldsSomethingElse)));
    tray.add((0..6).map(|at| Board::named(&format!("good {at}"))));
    let (summary, outcome) = world.provision(&SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!((summary.fail, outcome), (1, Outcome::SomeFailed), "{summary:?}");
    assert_eq!(summary.failures[0].fault.as_ref().map(|fault| fault.code.as_str()), Some("device-unverified"));

    // The same command again: the good board gets it.
    let (summary, _) = world.provision(&SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!(summary.pass, 1, "{summary:?}");
    world.each_serial_is_on_one_board(&SERIALS[..1], &[tray]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_profile_asks_to_be_shown_is_shown_before_the_confirmation() {
    let world = World::start().await;
    let tray = Tray::of((0..2).map(|at| Board::named(&format!("forgets {at}")).failing_always(ForgetsWhenProved)));
    tray.add((0..2).map(|at| Board::named(&format!("good {at}"))));
    let service = FaultyService::of(&world.client);
    let (summary, outcome) = world.provision_with(service.clone(), &SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!((summary.pass, summary.fail, outcome), (0, 1, Outcome::SomeFailed), "{summary:?}");
    assert_eq!(service.confirmations(), 0, "it was confirmed before it was shown");
    assert_eq!(world.client.status(SERIALS[0]).await.expect("is known").state, State::Issued);

    let (summary, _) = world.provision(&SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!(summary.pass, 1, "{summary:?}");
    world.each_serial_is_on_one_board(&SERIALS[..1], &[tray]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_serial_fails_at_once_and_its_device_gets_the_next() {
    let world = World::start().await;
    let (summary, outcome) = world.provision(&["QD-0041714", "QD-0041713"], &[Tray::with_boards(1)]).await;
    assert_eq!((summary.pass, summary.fail, outcome), (1, 1, Outcome::SomeFailed), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_registered_ahead_is_used_by_the_next_run() {
    let world = World::start().await;
    let service = FaultyService::of(&world.client);
    let interrupt = service.interrupting_after_registrations(2);
    let trays = [Tray::empty_for_anonymous(), Tray::empty_for_anonymous()];
    let (summary, outcome) = world.provision_until(service.clone(), &SERIALS, &trays, interrupt).await;
    assert_eq!((summary.left, outcome, service.registrations()), (6, Outcome::Interrupted, 2), "at most one ahead for each slot");

    let service = FaultyService::of(&world.client);
    let tray = Tray::of((0..6).map(|_| Board::anonymous()));
    let (summary, _) = world.provision_with(service.clone(), &SERIALS, std::slice::from_ref(&tray)).await;
    assert_eq!(summary.pass, 6, "{summary:?}");
    assert_eq!(world.client.access().await.expect("answers").registered, 6, "what was registered ahead is not registered again");
    assert_eq!(service.take_overs(), [""; 0]);
    world.each_serial_is_on_one_board(&SERIALS, &[tray]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slot_gives_devices_their_serials_in_the_batchs_order() {
    let world = World::start().await;
    // Devices that don't say which they are: then each serial is registered while the one before is written.
    let tray = Tray::of((0..6).map(|_| Board::anonymous()));
    let (summary, _) = world.provision(&SERIALS, std::slice::from_ref(&tray)).await;
    assert_eq!(summary.pass, 6, "{summary:?}");
    assert_eq!(tray.serials(), SERIALS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_journal_is_no_lost_serial() {
    let world = World::start().await;
    let away = FaultyService::of(&world.client).refusing_confirmations(unreachable());
    let first = Tray::of([Board::named("A")]);
    world.provision_with(away, &SERIALS[..1], std::slice::from_ref(&first)).await;
    world.lose_journal();
    let (service, second) = (FaultyService::of(&world.client), Tray::of([Board::named("B")]));
    let (summary, _) = world.provision_with(service.clone(), &SERIALS[..1], std::slice::from_ref(&second)).await;
    assert_eq!(summary.pass, 1, "{summary:?}");
    assert_eq!(service.take_overs(), [job::UNKNOWN_TO_THE_JOURNAL]);
    world.each_serial_is_on_one_board(&SERIALS[..1], &[first, second]);

    // What is done needs no journal at all.
    world.lose_journal();
    let (summary, outcome) = world.provision(&SERIALS[..1], &[Tray::with_boards(1)]).await;
    assert_eq!((summary.done_before, outcome), (1, Outcome::AllPassed), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_released_elsewhere_is_work_again_and_its_board_gets_its_own_serial() {
    let world = World::start().await;
    let first = Tray::of(["A", "B"].map(Board::named));
    world.provision(&SERIALS[..2], std::slice::from_ref(&first)).await;
    let board = first.holder_of(SERIALS[1]).expect("it is on a board");
    world.release(SERIALS[1]).await;
    // A third serial stands before it, and the board with the dead credential comes first.
    let (service, again) = (FaultyService::of(&world.client), Tray::of([board.as_str(), "C"].map(Board::named)));
    let serials = [SERIALS[2], SERIALS[0], SERIALS[1]];
    let (summary, outcome) = world.provision_with(service.clone(), &serials, std::slice::from_ref(&again)).await;
    assert_eq!((summary.pass, summary.done_before, outcome), (2, 1, Outcome::AllPassed), "{summary:?}");
    assert_eq!(again.holder_of(SERIALS[1]), Some(board));
    assert_eq!((service.take_overs(), service.asked_after()), (vec![], vec![0]), "one request");
    world.each_serial_is_on_one_board(&serials, &[first, again]);

    // Onto another board; and the journal knows what it has heard.
    world.release(SERIALS[1]).await;
    let (service, other) = (FaultyService::of(&world.client), Tray::of([Board::named("D")]));
    let (summary, _) = world.provision_with(service.clone(), &serials, std::slice::from_ref(&other)).await;
    assert_eq!((summary.pass, summary.done_before, service.asked_after()), (1, 2, vec![1]), "{summary:?}");
    world.each_serial_is_on_one_board(&[SERIALS[1]], &[other]);

    // A journal that has it from the service only, hears of it as well.
    world.lose_journal();
    let (summary, _) = world.provision(&SERIALS[1..2], &[Tray::with_boards(1)]).await;
    assert_eq!(summary.done_before, 1, "{summary:?}");
    world.release(SERIALS[1]).await;
    let last = Tray::of([Board::named("E")]);
    let (summary, _) = world.provision(&SERIALS[1..2], std::slice::from_ref(&last)).await;
    assert_eq!(summary.pass, 1, "{summary:?}");
    world.each_serial_is_on_one_board(&[SERIALS[1]], &[last]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_did_not_take_the_end_of_its_visit_is_not_written_over_by_the_next_run() {
    let world = World::start().await;
    let first = Tray::of([Board::anonymous().failing(TakesNoEnd)]);
    let (summary, _) = world.provision(&SERIALS[..1], std::slice::from_ref(&first)).await;
    assert_eq!(summary.pass, 1, "{summary:?}");
    // Whatever is in that slot next may be the same device: it is told to end, and the one after it is written.
    let second = Tray::of([Board::anonymous(), Board::anonymous()]);
    let (summary, _) = world.provision(&SERIALS[1..2], std::slice::from_ref(&second)).await;
    assert_eq!((summary.pass, second.writes(), second.finished()), (1, 1, 2), "{summary:?}");
    world.each_serial_is_on_one_board(&SERIALS[..2], &[first, second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_device_that_never_tells_its_name_may_stay_in_its_slot() {
    let world = World::start().await;
    let tray = Tray::of([Board::anonymous()]);
    world.provision_killed_at(&FaultyService::of(&world.client), 1, true, &SERIALS[..1], &tray).await;
    let (summary, _) = world.provision(&SERIALS[..1], &[Tray::empty()]).await;
    assert_eq!(summary.pass, 1, "{summary:?}");
    world.release(SERIALS[0]).await;
    tray.add([Board::anonymous()]);
    let (summary, _) = world.provision(&SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!((summary.pass, tray.writes()), (1, 2), "{summary:?}");
    world.each_serial_is_on_one_board(&SERIALS[..1], &[tray]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_refuses_the_station_stops_all_slots() {
    let world = World::start().await;
    let refusal = ClientError::Refused(Box::new(Problem::new(Code::AccessCodeRevoked, "the access code `x` is revoked")));
    let service = FaultyService::of(&world.client).refusing_registrations(refusal);
    let (summary, outcome) = world.provision_with(service, &SERIALS, &[Tray::with_boards(6), Tray::with_boards(6)]).await;
    assert_eq!((summary.left, summary.fail, outcome), (6, 0, Outcome::Refused), "{summary:?}");
    assert_eq!(summary.stopped.map(|fault| fault.code), Some("access-code-revoked".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_cannot_be_opened_takes_its_slot_out_and_no_other() {
    let world = World::start().await;
    let tray = Tray::with_boards(6);
    let (summary, outcome) = world.provision(&SERIALS, &[Tray::without_port(), tray]).await;
    assert_eq!((summary.pass, outcome), (6, Outcome::AllPassed), "{summary:?}");
    let (summary, outcome) = world.provision(&["QD-0041755"], &[Tray::without_port()]).await;
    assert_eq!((summary.left, outcome), (1, Outcome::BadInput), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_is_done_is_refused_before_it_is_written() {
    let world = World::start().await;
    let tray = Tray::of([Board::named("A")]);
    world.provision(&SERIALS[..1], std::slice::from_ref(&tray)).await;
    // Known to the journal, then only to the service.
    for (serial, board) in [(SERIALS[1], "B"), (SERIALS[2], "C")] {
        let again = Tray::of([Board::named("A"), Board::named(board)]);
        let (summary, _) = world.provision(&[serial], std::slice::from_ref(&again)).await;
        assert_eq!((summary.pass, summary.fail), (1, 0), "{summary:?}");
        assert_eq!((again.holder_of(serial).as_deref(), again.writes()), (Some(board), 1));
        world.lose_journal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_spells_its_address_in_another_way_is_done_all_the_same() {
    let world = World::start().await;
    world.provision(&SERIALS[..1], &[Tray::of([Board::named("5C:CF:7F:00:00:0A")])]).await;
    // After an update of its firmware; known to the journal, then only to the service.
    for (serial, board) in [(SERIALS[1], "B"), (SERIALS[2], "C")] {
        let again = Tray::of([Board::named("5ccf.7f00.000a"), Board::named(board)]);
        let (summary, _) = world.provision(&[serial], std::slice::from_ref(&again)).await;
        assert_eq!((summary.pass, summary.fail), (1, 0), "{summary:?}");
        assert_eq!((again.holder_of(serial).as_deref(), again.writes()), (Some(board), 1));
        world.lose_journal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_is_too_weak_is_told_before_anything_is_written() {
    let world = World::start().await;
    let tray = Tray::with_boards(1).showing(Evidence::Accepted);
    let (summary, outcome) = world.provision(&SERIALS[..1], std::slice::from_ref(&tray)).await;
    assert_eq!((summary.fail, outcome), (1, Outcome::SomeFailed));
    assert_eq!(summary.failures[0].fault.as_ref().map(|fault| fault.code.as_str()), Some("evidence-too-weak"));
    assert_eq!(tray.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_call_the_same_command_again_does_all_and_nothing_twice() {
    // Which call is the last of the process, whether the service still does it, and whether the board is swapped meanwhile.
    for anonymous in [false, true] {
        for (call, done, swapped) in (0..6).flat_map(|call| [(call, false, false), (call, true, false), (call, true, true)]) {
            let world = World::start().await;
            let board = |name: usize| if anonymous { Board::anonymous() } else { Board::named(&name.to_string()) };
            let tray = Tray::of((0..3).map(board));
            let service = FaultyService::of(&world.client);
            world.provision_killed_at(&service, call, done, &SERIALS[..2], &tray).await;
            if swapped {
                tray.swap();
            }
            tray.add((10..14).map(board));
            let (summary, outcome) = world.provision(&SERIALS[..2], std::slice::from_ref(&tray)).await;
            let story = format!("killed at call {call}, done: {done}, swapped: {swapped}, anonymous: {anonymous}: {summary:?}");
            assert_eq!((summary.pass + summary.done_before, outcome), (2, Outcome::AllPassed), "{story}");
            world.each_serial_is_on_one_board(&SERIALS[..2], std::slice::from_ref(&tray));
            assert_eq!(world.serials_in_hub(), SERIALS[..2].iter().map(ToString::to_string).collect(), "{story}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_and_the_events_tell_the_same_story() {
    let world = World::start().await;
    let tray = Tray::of([Board::named("A"), Board::named("B").failing(GoneWhileWriting), Board::named("B")]);
    let (talk, data) = world
        .provision_on_screen(
            &["QD-0041713", "QD-0041714", "QD-0041720"],
            &tray,
            ScreenOptions { json: true, ..ScreenOptions::default() },
        )
        .await;
    insta::with_settings!({ filters => vec![
        (r"\d+\.\d s", "[SECONDS]"),
        (r#""seconds":[0-9.e-]+"#, r#""seconds":"[SECONDS]""#),
        (r#""time":"[^"]+""#, r#""time":"[TIME]""#),
    ] }, {
        insta::assert_snapshot!("screen", talk);
        insta::assert_snapshot!("events", data);
    });
}

fn unreachable() -> ClientError {
    ClientError::Unreachable { service: "https://qdrs.example/".into(), why: "no answer in time".into() }
}
