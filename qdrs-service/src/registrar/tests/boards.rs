//! One board, one serial: in whatever spelling, on every path, until a release frees the board.

use super::*;

/// The same board three times.
const SPELLINGS: [&str; 3] = ["5C:CF:7F:10:00:0A", "5c-cf-7f-10-00-0a", " 5ccf.7f10.000a\u{a0}"];

fn board(id: &str) -> RegisterRequest {
    RegisterRequest { hardware_id: HardwareId::from_record(id), ..Default::default() }
}

impl World {
    async fn made_on(&self, who: &Caller, serial: &str, id: Option<&str>) -> (Registration, DeviceKey) {
        let (registration, key) = self.register(who, serial, serial).await.unwrap();
        self.confirm_with(who, serial, &registration, &key, Evidence::ReadBack, id).await.unwrap();
        (registration, key)
    }

    async fn board_of(&self, serial: &str) -> Option<String> {
        self.record(serial).await.unwrap().reservation.hardware_id.map(|id| id.to_string())
    }
}

#[tokio::test]
async fn a_board_is_the_same_in_whatever_spelling_on_every_path() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.made_on(&mine, "7", Some(SPELLINGS[0])).await;
    assert_eq!(world.board_of("7").await.as_deref(), Some(SPELLINGS[0]));
    let (open, key) = world.register(&mine, "14", "a").await.unwrap();
    for id in SPELLINGS {
        assert_eq!(world.register_with(&mine, "21", "b", board(id)).await.unwrap_err(), Code::BoardTaken, "new: {id}");
        assert_eq!(world.register_with(&mine, "14", "a", board(id)).await.unwrap_err(), Code::BoardTaken, "again: {id}");
        let take_over = RegisterRequest { take_over: Some(TakeOver { reason: "lost".into() }), ..board(id) };
        assert_eq!(world.register_with(&mine, "14", "c", take_over).await.unwrap_err(), Code::BoardTaken, "taken over: {id}");
        let confirmed = world.confirm_with(&mine, "14", &open, &key, Evidence::ReadBack, Some(id)).await;
        assert_eq!(confirmed.unwrap_err(), Code::BoardTaken, "confirmed: {id}");
    }
}

#[tokio::test]
async fn a_blank_board_is_none_and_makes_no_two_devices_one() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    for (serial, blank) in [("7", ""), ("14", " \t"), ("21", "\u{a0}\u{2003}"), ("28", "\u{200b}")] {
        let body = serde_json::json!({ "hardware_id": blank });
        let ask: RegisterRequest = serde_json::from_value(body).unwrap();
        let (made, key) = world.register_with(&mine, serial, serial, ask).await.unwrap();
        let body = serde_json::json!({
            "reservation": made.reservation, "fingerprint": key.fingerprint(), "evidence": "read-back", "hardware_id": blank,
        });
        let confirmed = world.registrar.confirm(&mine.access, serial, serde_json::from_value(body).unwrap()).await;
        confirmed.unwrap_or_else(|refusal| panic!("{blank:?}: {refusal:?}"));
        assert_eq!(world.board_of(serial).await, None, "{blank:?}");
    }
    let long = serde_json::from_value::<RegisterRequest>(serde_json::json!({ "hardware_id": "x".repeat(201) })).unwrap_err();
    assert!(long.to_string().starts_with("`hardware_id` is longer than 200 bytes"), "{long}");
}

#[tokio::test]
async fn a_board_that_is_known_only_later_is_added_and_another_one_is_refused() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    let (first, key) = world.made_on(&mine, "7", None).await;
    let (other, other_key) = world.made_on(&mine, "14", None).await;
    let again = |id| world.confirm_with(&mine, "7", &first, &key, Evidence::ReadBack, id);
    let confirmed_at = again(None).await.unwrap().confirmed_at;
    assert_eq!(again(Some(SPELLINGS[0])).await.unwrap().confirmed_at, confirmed_at, "it stays confirmed since then");
    assert_eq!(world.board_of("7").await.as_deref(), Some(SPELLINGS[0]));
    again(Some(SPELLINGS[1])).await.expect("the same board");
    again(None).await.expect("a board that is not reported contradicts nothing");
    assert_eq!(again(Some("hw-2")).await.unwrap_err(), Code::WrongBoard, "never 200 and dropped");
    assert_eq!(world.board_of("7").await.as_deref(), Some(SPELLINGS[0]));
    let taken = world.confirm_with(&mine, "14", &other, &other_key, Evidence::ReadBack, Some(SPELLINGS[2])).await;
    assert_eq!(taken.unwrap_err(), Code::BoardTaken);
    assert_eq!(world.board_of("14").await, None);
    let boards = world.life().await.into_iter().filter(|deed| deed == "board-added").count();
    assert_eq!(boards, 1, "it stands in the audit log");
}

#[tokio::test]
async fn a_scrapped_serials_board_is_never_another_and_a_released_ones_is_free() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    world.made_on(&mine, "7", Some(SPELLINGS[0])).await;
    world.scrap("7").await.unwrap();
    assert_eq!(world.register_with(&mine, "14", "a", board(SPELLINGS[1])).await.unwrap_err(), Code::BoardTaken);
    let (open, key) = world.register(&mine, "14", "b").await.unwrap();
    let confirmed = world.confirm_with(&mine, "14", &open, &key, Evidence::ReadBack, Some(SPELLINGS[1])).await;
    assert_eq!(confirmed.unwrap_err(), Code::BoardTaken);

    let (_, _) = world.made_on(&mine, "21", Some("hw-1")).await;
    let id = world.record("21").await.unwrap().reservation.id;
    assert!(world.registrar.shared.ledger.release(id, "released: x".into()).await.unwrap());
    let early = world.register_with(&mine, "28", "c", board("hw-1")).await;
    assert_eq!(early.unwrap_err(), Code::BoardTaken, "its credential may be alive until the release has ended");
    world.release("21").await.unwrap();
    world.register_with(&mine, "28", "c", board("hw-1")).await.expect("the board is free");
}

#[tokio::test]
async fn the_board_that_holds_the_credential_is_the_one_that_was_confirmed() {
    let world = World::new();
    let mine = world.station("line-1", |_| ()).await;
    // The first board was taken out before anything was written to it; the same job goes on with the next one.
    let (_, _) = world.register_with(&mine, "7", "a", board("hw-1")).await.unwrap();
    let (made, key) = world.register_with(&mine, "7", "a", board("hw-2")).await.expect("a repeat may name another board");
    assert_eq!(world.board_of("7").await.as_deref(), Some("hw-1"), "what was reserved stands until the confirmation");
    world.confirm_with(&mine, "7", &made, &key, Evidence::ReadBack, Some("hw-2")).await.unwrap();
    assert_eq!(world.board_of("7").await.as_deref(), Some("hw-2"));
    world.register_with(&mine, "14", "b", board("hw-1")).await.expect("the first board is free");
    assert_eq!(world.register_with(&mine, "21", "c", board("hw-2")).await.unwrap_err(), Code::BoardTaken);
}
