//! Bulk `POST /devices`: up to 100 entries, each done or listed with its own error. The only call that makes an
//! identity and its tags at once.
//!
//! Not atomic: entries that are in order are done, whatever becomes of the others.
//! Source: the vendor's REST document on bulk calls; SDKs for the shape of the answer.

use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    device,
    errors::{self, Answer, Refusal, json_answer},
    faults::Operation,
    registry::{IfMatch, Registry},
    twins::{self, Twin},
};

const ENTRIES_MAX: usize = 100;

/// What an entry asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    Update { if_match: bool },
    CreateOrUpdate { if_match: bool },
    Delete { if_match: bool },
    UpdateTwin { if_match: bool },
}

impl Mode {
    /// Node's SDK begins some words with a capital, so case does not matter.
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "create" => Self::Create,
            "update" => Self::Update { if_match: false },
            "updateifmatchetag" => Self::Update { if_match: true },
            "createorupdate" => Self::CreateOrUpdate { if_match: false },
            "createorupdateifmatchetag" => Self::CreateOrUpdate { if_match: true },
            "delete" => Self::Delete { if_match: false },
            "deleteifmatchetag" => Self::Delete { if_match: true },
            "updatetwin" => Self::UpdateTwin { if_match: false },
            "updatetwinifmatchetag" => Self::UpdateTwin { if_match: true },
            _ => return None,
        })
    }

    fn operation(self) -> Operation {
        match self {
            Self::Create | Self::CreateOrUpdate { .. } => Operation::Create,
            Self::Update { .. } | Self::UpdateTwin { .. } => Operation::Update,
            Self::Delete { .. } => Operation::Delete,
        }
    }
}

/// One entry, its own shape not yet looked into: what is wrong there is that entry's error alone.
struct Entry {
    id: String,
    mode: Mode,
    members: Map<String, Value>,
}

impl Entry {
    fn parse(value: Value) -> Result<Self, Refusal> {
        let Value::Object(mut members) = value else {
            return Err(Refusal::new(errors::DESERIALIZATION_ERROR, "Error converting value: an entry must be an object"));
        };
        let Some(Value::String(id)) = members.remove("id") else {
            return Err(Refusal::argument("every entry needs an id"));
        };
        let mode = match members.remove("importMode") {
            Some(Value::String(word)) => Mode::parse(&word),
            _ => None,
        };
        let mode = mode.ok_or_else(|| Refusal::argument("every entry needs a known importMode"))?;
        Ok(Self { id, mode, members })
    }

    /// The member of that name, without regard to case: callers write `eTag` and `etag`.
    fn text(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str())
    }

    /// The condition, if the mode has one; without an etag it holds for nothing.
    fn condition(&self, if_match: bool, name: &str) -> IfMatch {
        if if_match { IfMatch::parse(self.text(name).unwrap_or_default()) } else { IfMatch::Any }
    }

    fn settings(&self) -> Result<device::Settings, Refusal> {
        let given: device::Given =
            serde_json::from_value(Value::Object(self.members.clone())).map_err(|error| Refusal::body(&error))?;
        given.settle()
    }

    fn twin(&self) -> Result<twins::Given, Refusal> {
        twins::Given::from_entry(self.members.get("tags").cloned(), self.members.get("properties").cloned())
    }

    /// Does what the entry asks; true if the twin was left out.
    fn apply(&self, registry: &Registry, options: &Options) -> Result<bool, Refusal> {
        device::check_device_id(&self.id, options.strict_ids)?;
        if self.text("moduleId").is_some() {
            return Err(Refusal::not_supported());
        }
        let id = self.id.as_str();
        let etag = |if_match| self.condition(if_match, "eTag");
        match self.mode {
            Mode::Create => return self.create(registry, options),
            Mode::CreateOrUpdate { if_match } => match registry.update(id, &etag(if_match), self.settings()?) {
                Err(refusal) if refusal.kind == errors::DEVICE_NOT_FOUND => return self.create(registry, options),
                updated => updated.map(drop)?,
            },
            Mode::Update { if_match } => registry.update(id, &etag(if_match), self.settings()?).map(drop)?,
            Mode::Delete { if_match } => registry.delete(id, &etag(if_match))?,
            Mode::UpdateTwin { if_match } => {
                let given = self.twin()?;
                let condition = self.condition(if_match, "twinETag");
                registry.write_twin(id, &condition, |twin| twin.patched(Timestamp::now(), given)).map(drop)?;
            }
        }
        Ok(false)
    }

    fn create(&self, registry: &Registry, options: &Options) -> Result<bool, Refusal> {
        let now = Timestamp::now();
        let twin = Twin::with(now, self.twin()?)?;
        let twin = if options.without_twin { Twin::new(now) } else { twin };
        registry.create(&self.id, self.settings()?, twin)?;
        Ok(options.without_twin)
    }
}

/// How entries are taken.
pub(super) struct Options {
    pub(super) strict_ids: bool,
    /// A fault: identities are made, their tags are not.
    pub(super) without_twin: bool,
}

/// A whole call that is in order as a whole.
pub(super) struct Bulk {
    entries: Vec<Entry>,
}

impl Bulk {
    /// Reads the body: a bare array of 1 to 100 entries with distinct ids.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let values: Vec<Value> = serde_json::from_slice(body).map_err(|error| Refusal::body(&error))?;
        match values.len() {
            0 => return Err(Refusal::argument("at least one device is needed")),
            1..=ENTRIES_MAX => {}
            count => return Err(Refusal::new(errors::TOO_MANY_DEVICES, format!("{count} devices are more than {ENTRIES_MAX}"))),
        }
        let entries: Vec<Entry> = values.into_iter().map(Entry::parse).collect::<Result<_, _>>()?;
        let mut seen = std::collections::HashSet::new();
        // Modules are named by two ids; none are supported, so the second counts only here.
        if let Some(twice) = entries.iter().find(|entry| !seen.insert((&entry.id, entry.text("moduleId")))) {
            return Err(Refusal::new(
                errors::DEVICE_DEFINED_MULTIPLE_TIMES,
                format!("Device '{}' is defined multiple times", twice.id),
            ));
        }
        drop(seen);
        Ok(Self { entries })
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for operation in self.entries.iter().map(|entry| entry.mode.operation()) {
            if !operations.contains(&operation) {
                operations.push(operation);
            }
        }
        operations
    }

    pub(super) fn device_ids(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.id.as_str()).collect()
    }

    /// Does every entry, and says of each that failed why.
    pub(super) fn apply(&self, registry: &Registry, options: &Options) -> Answer {
        let (mut failed, mut warnings) = (Vec::new(), Vec::new());
        for entry in &self.entries {
            match entry.apply(registry, options) {
                Ok(false) => {}
                Ok(true) => warnings.push(json!({
                    "deviceId": entry.id,
                    "warningCode": "DeviceRegisteredWithoutTwin",
                    "warningStatus": "The device was registered, but its twin could not be written.",
                })),
                Err(refusal) => failed.push(json!({
                    "deviceId": entry.id,
                    "errorCode": refusal.kind.number,
                    "errorStatus": refusal.text,
                })),
            }
        }
        let success = failed.is_empty();
        let body = json!({"isSuccessful": success, "errors": failed, "warnings": warnings});
        if success {
            return json_answer(StatusCode::OK, &body);
        }
        // .NET reads the body as a result only because of this header.
        let mut answer = json_answer(errors::BULK_FAILURE.status, &body);
        answer.headers_mut().insert("iothub-errorcode", HeaderValue::from_static(errors::BULK_FAILURE.code));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry::new(Vec::new(), usize::MAX, None)
    }

    fn apply(registry: &Registry, body: &Value) -> (u16, Value) {
        let bulk = Bulk::parse(body.to_string().as_bytes()).expect("is in order as a whole");
        let answer = bulk.apply(registry, &Options { strict_ids: false, without_twin: false });
        let (parts, body) = answer.into_parts();
        let body = futures_free_bytes(body);
        (parts.status.as_u16(), serde_json::from_slice(&body).expect("is JSON"))
    }

    /// A full body is there at once: no runtime is needed to read it.
    fn futures_free_bytes(body: http_body_util::Full<bytes::Bytes>) -> bytes::Bytes {
        use http_body_util::BodyExt;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(body.collect()).as_mut().poll(&mut context) {
            std::task::Poll::Ready(Ok(collected)) => collected.to_bytes(),
            _ => panic!("a full body is never pending"),
        }
    }

    fn number(answer: &Value) -> Option<u64> {
        answer["errors"][0]["errorCode"].as_u64()
    }

    #[test]
    fn identity_and_tags_are_made_in_one_call_and_the_good_entries_of_a_bad_call_are_done() {
        let registry = registry();
        let first = json!([{"id": "d1", "importMode": "create", "tags": {"qdrs": {"batch": "B1"}}}]);
        assert_eq!(apply(&registry, &first), (200, json!({"isSuccessful": true, "errors": [], "warnings": []})));
        assert_eq!(registry.identity("d1").expect("is there").tags["qdrs"]["batch"], "B1");

        let second = json!([{"id": "d1", "importMode": "create"}, {"id": "d2", "importMode": "create"}]);
        let (status, answer) = apply(&registry, &second);
        assert_eq!((status, number(&answer), answer["errors"].as_array().map(Vec::len)), (400, Some(409_001), Some(1)));
        assert!(registry.identity("d2").is_some());
    }

    #[test]
    fn every_mode_has_its_own_error() {
        for (mode, missing, stale) in [
            ("update", Some(404_001), None),
            ("UpdateIfMatchETag", Some(404_001), Some(412_001)),
            ("Delete", Some(404_001), None),
            ("deleteIfMatchETag", Some(404_001), Some(412_001)),
            ("updateTwin", Some(404_001), None),
            ("updateTwinIfMatchETag", Some(404_001), Some(412_001)),
            ("createOrUpdate", None, None),
            ("createOrUpdateIfMatchETag", None, Some(412_001)),
            ("create", None, Some(409_001)),
        ] {
            let registry = registry();
            let body = json!([{"id": "d", "importMode": mode, "etag": "c3RhbGU=", "twinETag": "c3RhbGU="}]);
            assert_eq!(number(&apply(&registry, &body).1), missing, "{mode}, missing");
            registry.remove("d");
            apply(&registry, &json!([{"id": "d", "importMode": "create"}]));
            assert_eq!(number(&apply(&registry, &body).1), stale, "{mode}, stale");
        }
    }

    #[test]
    fn the_right_etag_is_taken_in_any_case_of_its_name() {
        let registry = registry();
        apply(&registry, &json!([{"id": "d", "importMode": "create"}]));
        let etag = registry.get("d").expect("is there").etag_text();
        let (status, _) = apply(&registry, &json!([{"id": "d", "importMode": "DeleteIfMatchETag", "etag": etag}]));
        assert_eq!((status, registry.len()), (200, 0));
    }

    #[test]
    fn an_update_that_says_nothing_of_keys_kills_them() {
        let registry = registry();
        apply(&registry, &json!([{"id": "d", "importMode": "create"}]));
        let before = registry.identity("d").expect("is there").primary_key.expect("has one").fingerprint();
        apply(&registry, &json!([{"id": "d", "importMode": "update", "status": "disabled"}]));
        let after = registry.identity("d").expect("is there");
        assert!(!after.enabled && after.primary_key.expect("has one").fingerprint() != before);
    }

    #[test]
    fn a_call_wrong_as_a_whole_does_nothing() {
        let refused = |body: Value| Bulk::parse(body.to_string().as_bytes()).map(|_| ()).expect_err("is refused").kind.number;
        let create = |id: String| json!({"id": id, "importMode": "create"});
        assert_eq!(refused(json!([create("a".into()), create("a".into())])), 400_011);
        assert_eq!(refused((0..101).map(|n| create(n.to_string())).collect()), 413_002);
        assert_eq!(refused(json!([])), 400_004);
        assert_eq!(refused(json!([{"id": "a"}])), 400_004);
        assert_eq!(refused(json!([{"id": "a", "importMode": "explode"}])), 400_004);
        assert_eq!(refused(json!({"devices": []})), 400_012);
        assert_eq!(Bulk::parse(b"[").map(|_| ()).expect_err("is refused").kind.number, 400_006);
        assert!(Bulk::parse((0..100).map(|n| create(n.to_string())).collect::<Value>().to_string().as_bytes()).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_entry_is_too_strange(member in "[a-zA-Z]{1,8}", text in ".{0,20}", number in proptest::num::i64::ANY) {
            let strange = json!([number, null, {&member: text}]);
            for value in [json!(text), json!(number), json!({&member: strange}), strange] {
                for name in ["id", "importMode", "authentication", "tags", "properties", "status", "eTag", member.as_str()] {
                    let mut entry = json!({"id": "d", "importMode": "createOrUpdate"});
                    entry[name] = value.clone();
                    if let Ok(bulk) = Bulk::parse(json!([entry]).to_string().as_bytes()) {
                        bulk.apply(&registry(), &Options { strict_ids: false, without_twin: false });
                    }
                }
            }
        }
    }

    #[test]
    fn a_bad_key_or_module_is_that_entrys_error() {
        let registry = registry();
        let key = "AA==";
        let bad = json!({"symmetricKey": {"primaryKey": key, "secondaryKey": key}});
        let body = json!([
            {"id": "a", "importMode": "create", "authentication": bad},
            {"id": "b", "importMode": "create", "moduleId": "m"},
            {"id": "c/d", "importMode": "create"},
            {"id": "e", "importMode": "create", "tags": {"a.b": 1}},
            {"id": "f", "importMode": "create"},
        ]);
        let (_, answer) = apply(&registry, &body);
        let failed: Vec<_> =
            answer["errors"].as_array().expect("lists").iter().map(|e| (&e["deviceId"], &e["errorCode"])).collect();
        assert_eq!(json!(failed), json!([["a", 400_004], ["b", 400_004], ["c/d", 400_004], ["e", 400_004]]));
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn a_lost_twin_is_a_warning() {
        let registry = registry();
        let bulk = Bulk::parse(br#"[{"id":"d","importMode":"create","tags":{"a":1}}]"#).expect("is in order");
        let answer = bulk.apply(&registry, &Options { strict_ids: false, without_twin: true });
        let body: Value = serde_json::from_slice(&futures_free_bytes(answer.into_body())).expect("is JSON");
        assert_eq!(
            (&body["isSuccessful"], &body["warnings"][0]["warningCode"]),
            (&json!(true), &json!("DeviceRegisteredWithoutTwin"))
        );
        assert!(registry.identity("d").expect("is there").tags.is_empty());
    }
}
