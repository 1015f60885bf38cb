//! A station is its journal: PCs of one name, a cloned disk, a restored one, a person's word.

use super::*;

/// A serial that is written to a board and not confirmed; its board.
async fn written(world: &World) -> Tray {
    let tray = Tray::of([Board::named("A")]);
    let away = FaultyService::of(&world.client).refusing_confirmations(unreachable());
    world.provision_with(away, &SERIALS[..1], std::slice::from_ref(&tray)).await;
    tray
}

/// A serial that may be on a board, which went away while it was written; the board.
async fn begun(world: &World) -> Tray {
    let tray = Tray::of([Board::named("A").failing(GoneWhileWriting)]);
    let (sender, interrupt) = watch::channel(false);
    let trays = [tray.clone()];
    let run = world.provision_until(FaultyService::of(&world.client), &SERIALS[..1], &trays, interrupt);
    let stop = async {
        while tray.writes() == 0 {
            tokio::task::yield_now().await;
        }
        sender.send(true).expect("it runs");
    };
    let ((summary, outcome), ()) = tokio::join!(run, stop);
    assert_eq!((summary.left, outcome), (1, Outcome::Interrupted), "{summary:?}");
    tray
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pcs_of_one_name_leave_each_others_open_serials_alone() {
    for tell in [true, false] {
        let mut world = World::start().await;
        let first = if tell { written(&world).await } else { begun(&world).await };
        world.go_to_another_pc();
        let (service, second) = (FaultyService::of(&world.client), Tray::of(["B", "C"].map(Board::named)));
        let (summary, outcome) = world.provision_with(service.clone(), &SERIALS[..2], std::slice::from_ref(&second)).await;
        assert_eq!((summary.pass, summary.elsewhere, outcome), (1, 1, Outcome::AllPassed), "{summary:?}");
        assert_eq!((service.take_overs(), second.holder_of(SERIALS[0])), (vec![], None));
        // A second look takes no device.
        let (summary, outcome) = world.provision(&SERIALS[..2], &[Tray::empty()]).await;
        assert_eq!((summary.done_before, summary.elsewhere, outcome), (1, 1, Outcome::AllPassed), "{summary:?}");

        world.go_back();
        first.put_in_again();
        let (summary, outcome) = world.provision(&SERIALS[..1], std::slice::from_ref(&first)).await;
        assert_eq!((summary.pass, outcome), (1, Outcome::AllPassed), "{summary:?}");
        world.go_to_another_pc();
        let (summary, outcome) = world.provision(&SERIALS[..2], &[Tray::empty()]).await;
        assert_eq!((summary.done_before, summary.elsewhere, outcome), (1, 1, Outcome::AllPassed), "{summary:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pcs_serial_is_left_to_it_until_somebody_says_why() {
    let mut world = World::start().await;
    let first = written(&world).await;
    world.go_to_another_pc();
    let (summary, outcome) = world.provision(&SERIALS[..1], &[Tray::with_boards(1)]).await;
    assert_eq!((summary.elsewhere, outcome), (1, Outcome::AllPassed), "{summary:?}");

    world.take_over = Some("the first station burnt down".into());
    let (service, second) = (FaultyService::of(&world.client), Tray::of([Board::named("B")]));
    let (summary, _) = world.provision_with(service.clone(), &SERIALS[..1], std::slice::from_ref(&second)).await;
    assert_eq!((summary.pass, service.take_overs()), (1, vec!["the first station burnt down".to_owned()]), "{summary:?}");
    world.each_serial_is_on_one_board(&SERIALS[..1], &[first, second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloned_disk_is_another_station() {
    let mut world = World::start().await;
    let first = begun(&world).await;
    world.go_to_a_clone();
    let (service, second) = (FaultyService::of(&world.client), Tray::of(["B", "C"].map(Board::named)));
    let (summary, outcome) = world.provision_with(service.clone(), &SERIALS[..2], std::slice::from_ref(&second)).await;
    assert_eq!((summary.pass, summary.elsewhere, outcome), (1, 1, Outcome::AllPassed), "{summary:?}");
    assert_eq!(service.take_overs(), [""; 0]);

    world.go_back();
    first.put_in_again();
    let (summary, outcome) = world.provision(&SERIALS[..1], std::slice::from_ref(&first)).await;
    assert_eq!((summary.pass, outcome), (1, Outcome::AllPassed), "{summary:?}");
    world.each_serial_is_on_one_board(&SERIALS[..2], &[first, second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_journal_kills_no_credential_and_makes_none_twice() {
    for whole_disk in [false, true] {
        let world = World::start().await;
        // One is registered ahead when the backup is made; both are on boards when it comes back.
        let service = FaultyService::of(&world.client);
        let interrupt = service.interrupting_after_registrations(1);
        world.provision_until(service, &SERIALS[..1], &[Tray::empty_for_anonymous()], interrupt).await;
        let backup = world.backup();
        let first = Tray::of(["A", "B"].map(Board::named));
        let (summary, _) = world.provision(&SERIALS[..1], std::slice::from_ref(&first)).await;
        assert_eq!(summary.pass, 1, "{summary:?}");
        let away = FaultyService::of(&world.client).refusing_confirmations(unreachable());
        world.provision_with(away, &SERIALS[1..2], std::slice::from_ref(&first)).await;

        world.restore(&backup, whole_disk);
        let (service, second) = (FaultyService::of(&world.client), Tray::of(["C", "D", "E"].map(Board::named)));
        let (summary, outcome) = world.provision_with(service.clone(), &SERIALS[..3], std::slice::from_ref(&second)).await;
        let settled = summary.done_before + summary.elsewhere + summary.fail;
        assert_eq!((summary.pass, settled), (1, 2), "{summary:?}");
        assert_eq!((summary.done_before, service.take_overs()), (1, vec![]), "{summary:?}");
        assert!(matches!(outcome, Outcome::AllPassed | Outcome::SomeFailed));
        world.each_serial_is_on_one_board(&SERIALS[..3], &[first, second]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_say_that_a_restored_journals_serials_are_made_anew() {
    let mut world = World::start().await;
    let service = FaultyService::of(&world.client);
    let interrupt = service.interrupting_after_registrations(1);
    world.provision_until(service, &SERIALS[..1], &[Tray::empty_for_anonymous()], interrupt).await;
    let backup = world.backup();
    let first = written(&world).await;
    world.restore(&backup, false);
    world.take_over = Some("the disk was replaced".into());
    let second = Tray::of([Board::named("B")]);
    let (summary, _) = world.provision(&SERIALS[..1], std::slice::from_ref(&second)).await;
    assert_eq!(summary.pass, 1, "{summary:?}");
    world.each_serial_is_on_one_board(&SERIALS[..1], &[first, second]);
}
