//! Whose a journal is: what a move, a copy, a restore and a loss do to it.

use super::*;

fn open(path: &Path) -> Journal {
    Journal::open(path, SERVICE).expect("opens")
}

/// A copy that was made later, by whatever clock the file system has.
fn copy_later(from: &Path, to: &Path) {
    let place = |path| Place::of(&File::open(path).expect("opens"));
    loop {
        fs::copy(from, to).expect("copies");
        if !place(from).is(&place(to)) {
            return;
        }
        fs::remove_file(to).expect("removes");
    }
}

/// A journal with one serial that is done, and one that is begun.
fn half_done() -> (tempfile::TempDir, PathBuf, Option<Uuid>) {
    let entries = whole_life("qd-1", 10).into_iter().chain(whole_life("qd-2", 20).into_iter().take(3));
    let (folder, path) = journal_with(entries);
    let id = open(&path).id();
    assert!(id.is_some());
    (folder, path, id)
}

#[track_caller]
fn goes_on(journal: &Journal, id: Option<Uuid>) {
    assert_eq!((journal.id(), journal.notice(), journal.jobs()), (id, None, 2));
    assert_eq!(phase(journal, "qd-2"), Phase::Open);
}

/// What is done is done, and what is begun is another station's.
#[track_caller]
fn goes_another_way(journal: &Journal, id: Option<Uuid>, notice: &str) {
    assert_ne!(journal.id(), id);
    assert_eq!((journal.notice(), journal.jobs()), (Some(notice), 0));
    assert_eq!((phase(journal, "qd-1"), phase(journal, "qd-2")), (Phase::Passed, Phase::Elsewhere));
}

#[track_caller]
fn phase(journal: &Journal, serial: &str) -> Phase {
    journal.state(serial).expect("is known").phase()
}

#[test]
fn a_journal_keeps_its_id_and_no_two_have_one() {
    let (_one, path, id) = half_done();
    goes_on(&open(&path), id);
    let (_other, _, other) = half_done();
    assert_ne!(id, other);
}

#[test]
fn a_moved_folder_is_no_copy() {
    let (folder, _, id) = half_done();
    let home = tempfile::tempdir().expect("a folder");
    let moved = home.path().join("moved");
    fs::rename(folder.path(), &moved).expect("moves");
    goes_on(&open(&moved.join("journal")), id);
    // Nor is a journal whose lock file somebody has cleared away.
    fs::remove_file(moved.join("journal.lock")).expect("is there");
    goes_on(&open(&moved.join("journal")), id);
}

#[test]
fn a_copy_goes_another_way_and_says_so_once() {
    let (folder, path, id) = half_done();
    let home = tempfile::tempdir().expect("a folder");
    let copy = home.path().join("journal");
    copy_later(&path, &copy);
    copy_later(&folder.path().join("journal.lock"), &home.path().join("journal.lock"));
    let journal = open(&copy);
    goes_another_way(&journal, id, COPIED);
    assert_eq!(journal.maker(id), Maker::Other, "what was made under the id is another station's");
    // A job of its own.
    journal.append(Entry::new("qd-2", job(90))).expect("appends");
    assert_eq!((phase(&journal, "qd-2"), journal.jobs()), (Phase::Open, 1));
    let own = journal.id();
    drop(journal);
    let again = open(&copy);
    assert_eq!((again.id(), again.notice(), phase(&again, "qd-2")), (own, None, Phase::Open));
    goes_on(&open(&path), id);
}

#[test]
fn a_computer_of_its_own_makes_a_copy_of_a_whole_disk() {
    let here = Place::of(&tempfile::tempfile().expect("a file"));
    let mut elsewhere = here.clone();
    assert!(here.is(&elsewhere));
    elsewhere.machine = Some("another".into());
    assert!(here.machine.is_none() || !here.is(&elsewhere));
    // What one of them does not tell, tells nothing.
    elsewhere.machine = None;
    assert!(here.is(&elsewhere) && here.is(&Place::default()));
    let other_file = Place { inode: here.inode.map(|inode| inode + 1), ..here.clone() };
    let born_later = Place { born: Some(Timestamp::MAX), ..here.clone() };
    assert!(here.born.is_none() || (here.is(&other_file) && !here.is(&born_later)), "some file systems number anew when mounted");
    let (untold, other_untold) = (Place { born: None, ..here }, Place { born: None, ..other_file });
    assert!(untold.inode.is_none() || !untold.is(&other_untold));
}

#[test]
fn a_restored_journal_goes_another_way_however_it_came_back() {
    for in_place in [true, false] {
        let (folder, path, id) = half_done();
        let backup = fs::read(&path).expect("reads");
        whole_life("qd-2", 20).into_iter().skip(3).for_each(|entry| open(&path).append(entry).expect("appends"));
        let file = folder.path().join("backup");
        fs::write(&file, &backup).expect("keeps");
        if in_place {
            fs::copy(&file, &path).expect("restores");
        } else {
            let aside = folder.path().join("aside");
            fs::rename(&path, &aside).expect("moves");
            copy_later(&aside, &path);
            fs::copy(&file, &path).expect("restores");
        }
        let journal = open(&path);
        goes_another_way(&journal, id, if in_place { RESTORED } else { COPIED });
        assert_eq!(journal.maker(id), if in_place { Maker::Former } else { Maker::Other });
        let own = journal.id();
        drop(journal);
        let again = open(&path);
        assert_eq!((again.id(), again.notice()), (own, None), "said once");
        drop((again, folder));
    }
}

#[test]
fn of_two_branches_of_one_journal_the_other_one_is_no_continuation() {
    let (_folder, path, id) = half_done();
    let backup = fs::read(&path).expect("reads");
    let home = tempfile::tempdir().expect("a folder");
    // The branch is longer than what the lock file has seen, and its lines are others.
    let branch = home.path().join("journal");
    copy_later(&path, &branch);
    fs::write(&branch, &backup).expect("as it was");
    let longer = open(&branch);
    (0..9).for_each(|number| longer.append(Entry::new(format!("x-{number}"), job(500 + number))).expect("appends"));
    drop(longer);
    open(&path).append(Entry::new("qd-3", job(30))).expect("appends");
    fs::write(&path, fs::read(&branch).expect("reads")).expect("writes over it");
    assert_ne!(open(&path).id(), id);
}

#[test]
fn a_kill_between_the_new_id_and_its_mark_is_no_restore() {
    let (folder, path, _) = half_done();
    let mark = fs::read(folder.path().join("journal.lock")).expect("reads");
    let own = open(&path).renew().map(|_| open_id(&path)).expect("appends");
    // As if it had been killed before the mark was written.
    fs::write(folder.path().join("journal.lock"), mark).expect("writes over it");
    let journal = open(&path);
    assert_eq!((journal.id(), journal.notice()), (own, None));
}

fn open_id(path: &Path) -> Option<Uuid> {
    Journal::read(path).expect("reads").identity.id
}

#[test]
fn a_lost_journal_is_followed_by_one_that_knows_which() {
    let (folder, path, id) = half_done();
    fs::remove_file(&path).expect("removes");
    let next = open(&path);
    assert_ne!(next.id(), id);
    assert_eq!((next.maker(id), next.notice(), next.all().len()), (Maker::Lost, Some(LOST), 0));
    let second = next.id();
    drop(next);
    assert_eq!(open(&path).notice(), None, "said once");
    // And once more.
    fs::remove_file(&path).expect("removes");
    let last = open(&path);
    assert_eq!((last.maker(id), last.maker(second), last.maker(last.id())), (Maker::Lost, Maker::Lost, Maker::This));
    drop(last);
    // The lock file of another place follows nothing.
    let home = tempfile::tempdir().expect("a folder");
    copy_later(&folder.path().join("journal.lock"), &home.path().join("journal.lock"));
    let elsewhere = open(&home.path().join("journal"));
    assert_eq!((elsewhere.maker(id), elsewhere.notice()), (Maker::Other, None));
}

#[test]
fn a_journal_that_the_service_knows_more_of_goes_another_way() {
    let (_folder, path, id) = half_done();
    let journal = open(&path);
    assert_eq!(journal.renew().expect("appends"), RESTORED);
    assert_ne!(journal.id(), id);
    assert_eq!((journal.maker(id), journal.jobs(), phase(&journal, "qd-2")), (Maker::Former, 0, Phase::Elsewhere));
    drop(journal);
    assert_eq!(open(&path).maker(id), Maker::Former);
}

#[test]
fn what_is_on_a_device_is_confirmed_whoever_wrote_it() {
    let (_folder, path) = journal_with(whole_life("qd-1", 10).into_iter().take(4));
    let journal = open(&path);
    journal.renew().expect("appends");
    assert_eq!(phase(&journal, "qd-1"), Phase::Written);
}

#[test]
fn an_old_journal_gets_an_id_when_it_is_next_opened_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    fs::copy(kept("v1"), &path).expect("copies");
    assert_eq!(open_id(&path), None, "who only reads it changes nothing");
    let journal = open(&path);
    let id = journal.id();
    assert!(id.is_some() && journal.notice().is_none());
    assert_eq!(phase(&journal, "qd-00003-1"), Phase::Open, "what it has begun stays its own");
    drop(journal);
    assert_eq!(open(&path).id(), id);
}
