//! The codec against transcripts of real MicroPythons, old and new, and against whatever else a line may carry.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Asked {
    Nothing,
    Plain,
    Paste,
}

fn repl(asked: Asked) -> RawRepl {
    let mut repl = RawRepl::default();
    match asked {
        Asked::Nothing => {}
        Asked::Plain => repl.expect_answer(),
        Asked::Paste => repl.expect_paste(),
    }
    repl
}

fn steps(asked: Asked, bytes: &[u8]) -> Vec<Step> {
    let mut steps = VecDeque::new();
    repl(asked).feed(bytes, &mut steps);
    steps.into()
}

fn answer(out: &[u8], err: &[u8]) -> Answer {
    Answer { out: Zeroizing::new(out.to_vec()), err: Zeroizing::new(err.to_vec()) }
}

fn only_answer(bytes: &[u8]) -> Answer {
    let found = steps(Asked::Plain, bytes);
    found.into_iter().find_map(|step| if let Step::Answer(answer) = step { Some(answer) } else { None }).expect("an answer")
}

#[test]
fn entering_is_heard_through_prompts_noise_and_garbage() {
    for before in [&b""[..], b"\r\n>>> \r\n>>> ", b"\xff\x00\x04>\x8c5 sec\r\n", b"KeyboardInterrupt: \r\n", b"raw REPL; CTRL-B"]
    {
        let heard = [before, b"\r\nraw REPL; CTRL-B to exit\r\n>"].concat();
        assert_eq!(steps(Asked::Nothing, &heard), [Step::Ready]);
    }
    assert_eq!(steps(Asked::Nothing, b"raw REPL; CTRL-B to exit\n>"), [Step::Ready]);
}

#[test]
fn a_plain_answer_has_two_halves() {
    let found = steps(Asked::Plain, b"OK1\r\n\x04\x04>");
    assert_eq!(found, [Step::Accepted, Step::Answer(answer(b"OK1\r\n", b""))]);
    let failed =
        only_answer(b"OK\x04Traceback (most recent call last):\r\n  File \"<stdin>\", line 1\r\nKeyError: c2VjcmV0\r\n\x04>");
    assert!(failed.failed());
    assert_eq!(failed.exception().as_deref(), Some("KeyError"));
}

#[test]
fn of_a_traceback_only_the_kind_and_the_systems_number_are_shown() {
    for (said, shown) in [
        ("OSError: [Errno 28] ENOSPC", Some("OSError 28")),
        ("OSError: 44", Some("OSError 44")),
        ("MemoryError: memory allocation failed, allocating 400 bytes", Some("MemoryError")),
        ("KeyboardInterrupt: ", Some("KeyboardInterrupt")),
        ("c2VjcmV0c2VjcmV0: c2VjcmV0", None),
        ("SharedAccessKey=c2VjcmV0", None),
    ] {
        assert_eq!(answer(b"", format!("Traceback\r\n{said}\r\n").as_bytes()).exception().as_deref(), shown);
    }
}

#[test]
fn a_fence_stands_out_of_noise() {
    let noisy = only_answer(b"15 sec\r\nOKWait for STA WLAN:  3\r\nQ1f:a:b|c:Z\r\nQ2:x:Z\r\n5 sec\r\n\x04\x04noise>");
    assert_eq!(noisy.fenced("1f"), Some(&b"a:b|c"[..]));
    assert_eq!(noisy.fenced("2"), Some(&b"x"[..]));
    assert_eq!(noisy.fenced("3"), None);
    assert_eq!(only_answer(b"OKQ1:a:Zb:Z\r\n\x04\x04>").fenced("1"), Some(&b"a:Zb"[..]), "it ends at a line's end");
    assert_eq!(only_answer(b"OKQ1:half\x04\x04>").fenced("1"), None, "a fence needs its end");
}

#[test]
fn raw_paste_paces_refuses_or_is_not_known() {
    let found = steps(Asked::Paste, b"R\x01\x80\x00\x01\x01\x04Q1:x:Z\n\x04\x04>");
    let answer = answer(b"Q1:x:Z\n", b"");
    assert_eq!(found, [Step::Window(128), Step::More, Step::More, Step::Enough, Step::Answer(answer)]);
    assert_eq!(steps(Asked::Paste, b"R\x00"), [Step::NoPaste]);
    assert_eq!(steps(Asked::Paste, b"raw REPL; CTRL-B to exit\r\n>"), [Step::Ready]);
    // Noise in between, with the letter that begins the verdict.
    assert_eq!(steps(Asked::Paste, b"RSSI 31\r\nRR\x01\x20\x00"), [Step::Window(32)]);
}

#[test]
fn a_restart_and_a_lost_file_system_are_heard_in_the_middle_of_an_answer() {
    assert_eq!(
        steps(Asked::Plain, b"OK\r\nPYB: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>"),
        [Step::Accepted, Step::Restarted, Step::Ready]
    );
    let start = b"OK\x8e\xffMicroPython v1.9.3-548; ESP module\r\nType \"help()\" for more information.\r\n>>> ";
    assert_eq!(steps(Asked::Plain, start), [Step::Accepted, Step::Restarted]);
    let lost = b"\r\nThe FAT filesystem starting at sector 153 with size 98 sectors appears to be corrupted. If you";
    assert_eq!(steps(Asked::Nothing, lost), [Step::Corrupt]);
}

#[test]
fn late_prompts_before_an_answer_are_no_answer_and_a_prompt_inside_one_ends_it() {
    let late = b"\r\nraw REPL; CTRL-B to exit\r\n>\r\nraw REPL; CTRL-B to exit\r\n>OKQ1:x:Z\r\n\x04\x04>";
    let found = steps(Asked::Plain, late);
    assert_eq!(found[..3], [Step::Ready, Step::Ready, Step::Accepted]);
    assert!(matches!(&found[3], Step::Answer(answer) if answer.fenced("1") == Some(b"x")));
    let cleared = steps(Asked::Plain, b"OKQ1:half\r\nraw REPL; CTRL-B to exit\r\n>OK\x04\x04>");
    assert_eq!(cleared, [Step::Accepted, Step::Ready]);
}

#[test]
fn a_resync_ends_an_answer_that_never_came() {
    let mut repl = repl(Asked::Plain);
    let mut steps = VecDeque::new();
    repl.feed(b"OKhalf of an ans", &mut steps);
    repl.reset();
    repl.feed(b"wer\x04\x04>raw REPL; CTRL-B to exit\r\n>", &mut steps);
    assert_eq!(steps, [Step::Accepted, Step::Ready]);
    steps.clear();
    repl.expect_answer();
    repl.feed(b"OKQ1:x:Z\r\n\x04\x04>", &mut steps);
    assert!(matches!(steps.back(), Some(Step::Answer(answer)) if answer.fenced("1").is_some()));
}

#[test]
fn nothing_shows_a_secret() {
    let mut repl = repl(Asked::Plain);
    let mut steps = VecDeque::new();
    repl.feed(b"OKc2VjcmV0\x04c2VjcmV0\x04>", &mut steps);
    repl.expect_answer();
    repl.feed(b"OKc2VjcmV0", &mut steps);
    let shown = format!("{steps:?} {repl:?}");
    assert!(!shown.contains("c2Vj") && !shown.contains("99"), "{shown}");
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"raw REPL; CTRL-B to exit\r\n>".to_vec()),
        Just(b"soft reboot\r\n".to_vec()),
        Just(b"OKQ1:x:Z\r\n\x04\x04>".to_vec()),
        Just(b"R\x01\x80\x00\x01".to_vec()),
        Just(vec![RUN]),
        prop::collection::vec(any::<u8>(), 0..24),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![Just(Asked::Nothing), Just(Asked::Plain), Just(Asked::Paste)]
}

proptest! {
    #[test]
    fn any_split_gives_the_same_steps(asked in asked(), pieces in prop::collection::vec(piece(), 0..20), cut in 1_usize..7) {
        let bytes = pieces.concat();
        let whole = steps(asked, &bytes);
        let mut repl = repl(asked);
        let mut found = VecDeque::new();
        for piece in bytes.chunks(cut) {
            repl.feed(piece, &mut found);
        }
        prop_assert_eq!(whole, Vec::from(found));
    }

    #[test]
    fn garbage_neither_panics_nor_piles_up(asked in asked(), bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        let mut repl = repl(asked);
        let mut steps = VecDeque::new();
        repl.feed(&bytes, &mut steps);
        prop_assert!(repl.answer.out.len() <= ANSWER_BYTES_MAX && repl.answer.err.len() <= ANSWER_BYTES_MAX);
        for step in steps {
            if let Step::Answer(answer) = step {
                // Whatever they say.
                let _ = (answer.fenced("1"), answer.exception());
            }
        }
        // And it can be used on.
        let mut steps = VecDeque::new();
        repl.feed(b"\r\nraw REPL; CTRL-B to exit\r\n>", &mut steps);
        prop_assert_eq!(steps.back(), Some(&Step::Ready));
    }
}
