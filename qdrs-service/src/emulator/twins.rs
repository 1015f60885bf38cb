//! Twins: tags and desired properties beside an identity, merged or replaced, within the hub's limits.
//!
//! Knows no device and no wire but the twin's own sections. Reported properties are the device's, and no device of
//! this emulator writes any.
//! Source: the vendor's documents on twins; JSON merge patch, RFC 7396.

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{device::hub_time, errors::Refusal};

/// Tags, as JSON text.
const TAGS_BYTES_MAX: usize = 8 * 1024;
/// Desired properties, as JSON text.
const DESIRED_BYTES_MAX: usize = 32 * 1024;
/// One string.
const VALUE_BYTES_MAX: usize = 4 * 1024;
const DEPTH_MAX: usize = 10;
/// Whole numbers, as far as a double holds them.
const INTEGER_MAX: u64 = 1 << 53;

/// One part of a twin.
type Section = Map<String, Value>;

/// What the hub keeps beside an identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Twin {
    /// Moves when tags or desired properties are written.
    etag: u64,
    /// Counts the same writes; a fresh twin has 2.
    pub(super) version: u64,
    pub(super) tags: Section,
    desired: Section,
    desired_version: u64,
    made: Timestamp,
    desired_changed: Timestamp,
}

/// The sections of a twin that a caller writes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Given {
    tags: Option<Value>,
    properties: Option<GivenProperties>,
}

#[derive(Debug, Default, Deserialize)]
struct GivenProperties {
    desired: Option<Value>,
}

impl Given {
    /// From the members of a bulk entry.
    pub(super) fn from_entry(tags: Option<Value>, properties: Option<Value>) -> Result<Self, Refusal> {
        let properties = properties.filter(|value| !value.is_null()).map(serde_json::from_value).transpose();
        Ok(Self { tags, properties: properties.map_err(|error| Refusal::body(&error))? })
    }

    /// Tags and desired properties, where they were given.
    fn sections(self) -> Result<(Option<Section>, Option<Section>), Refusal> {
        let mut desired = section("desired properties", self.properties.and_then(|properties| properties.desired))?;
        if let Some(desired) = &mut desired {
            // A caller may send a twin back as it was read, with what only the hub writes.
            desired.remove("$metadata");
            desired.remove("$version");
        }
        Ok((section("tags", self.tags)?, desired))
    }
}

fn section(what: &str, value: Option<Value>) -> Result<Option<Section>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(Refusal::argument(format!("{what} must be an object"))),
    }
}

impl Twin {
    /// The twin of a new device.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            etag: 1,
            version: 2,
            tags: Section::new(),
            desired: Section::new(),
            desired_version: 1,
            made: now,
            desired_changed: now,
        }
    }

    /// The twin of a new device that comes with tags or desired properties in the same call.
    pub(super) fn with(now: Timestamp, given: Given) -> Result<Self, Refusal> {
        let (tags, desired) = given.sections()?;
        let mut twin = Self::new(now);
        merge(&mut twin.tags, tags.unwrap_or_default());
        merge(&mut twin.desired, desired.unwrap_or_default());
        twin.check()?;
        Ok(twin)
    }

    /// `PATCH`: what is given is merged in, `null` deletes, arrays are replaced whole.
    pub(super) fn patched(&self, now: Timestamp, given: Given) -> Result<Self, Refusal> {
        let (tags, desired) = given.sections()?;
        let mut twin = self.clone();
        twin.written(now, desired.is_some());
        merge(&mut twin.tags, tags.unwrap_or_default());
        merge(&mut twin.desired, desired.unwrap_or_default());
        twin.check()?;
        Ok(twin)
    }

    /// `PUT`: tags and desired properties become what is given; what is left out becomes empty.
    pub(super) fn replaced(&self, now: Timestamp, given: Given) -> Result<Self, Refusal> {
        let (tags, desired) = given.sections()?;
        let mut twin = self.clone();
        twin.written(now, true);
        (twin.tags, twin.desired) = (Section::new(), Section::new());
        merge(&mut twin.tags, tags.unwrap_or_default());
        merge(&mut twin.desired, desired.unwrap_or_default());
        twin.check()?;
        Ok(twin)
    }

    fn written(&mut self, now: Timestamp, desired: bool) {
        self.etag += 1;
        self.version += 1;
        if desired {
            self.desired_version += 1;
            self.desired_changed = now;
        }
    }

    /// The etag without quotes: base64 of eight bytes, most significant first.
    pub(super) fn etag_text(&self) -> String {
        BASE64.encode(&self.etag.to_be_bytes())
    }

    pub(super) fn properties_to_json(&self) -> Value {
        let section = |members: &Section, version: u64, changed: Timestamp| {
            let mut section = members.clone();
            section.insert("$metadata".into(), json!({"$lastUpdated": format!("{}Z", hub_time(changed))}));
            section.insert("$version".into(), version.into());
            Value::Object(section)
        };
        json!({
            "desired": section(&self.desired, self.desired_version, self.desired_changed),
            "reported": section(&Section::new(), 1, self.made),
        })
    }

    fn check(&self) -> Result<(), Refusal> {
        for (what, members, bytes_max) in
            [("tags", &self.tags, TAGS_BYTES_MAX), ("desired properties", &self.desired, DESIRED_BYTES_MAX)]
        {
            check_members(what, members, 1)?;
            let bytes = serde_json::to_string(members).map_or(0, |text| text.len());
            if bytes > bytes_max {
                return Err(Refusal::argument(format!("{what}: {bytes} bytes are more than {bytes_max}")));
            }
        }
        Ok(())
    }
}

/// RFC 7396 on two objects; what stays holds no `null`.
fn merge(into: &mut Section, patch: Section) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                into.remove(&name);
            }
            Value::Object(members) => {
                let mut nested = match into.remove(&name) {
                    Some(Value::Object(nested)) => nested,
                    _ => Section::new(),
                };
                merge(&mut nested, members);
                into.insert(name, Value::Object(nested));
            }
            other => {
                into.insert(name, other);
            }
        }
    }
}

fn check_members(what: &str, members: &Section, depth: usize) -> Result<(), Refusal> {
    if depth > DEPTH_MAX {
        return Err(Refusal::argument(format!("{what}: nested deeper than {DEPTH_MAX}")));
    }
    for (name, value) in members {
        if name.is_empty() || name.chars().any(|c| c.is_control() || matches!(c, '.' | '$' | '#' | ' ')) {
            return Err(Refusal::argument(format!("{what}: a name must not hold control characters, '.', '$', '#' or ' '")));
        }
        check_value(what, value, depth)?;
    }
    Ok(())
}

fn check_value(what: &str, value: &Value, depth: usize) -> Result<(), Refusal> {
    match value {
        Value::Object(members) => check_members(what, members, depth + 1),
        Value::Array(items) => items.iter().try_for_each(|item| check_value(what, item, depth)),
        Value::String(text) if text.len() > VALUE_BYTES_MAX => {
            Err(Refusal::argument(format!("{what}: a value is longer than {VALUE_BYTES_MAX} bytes")))
        }
        Value::Number(number) if number.as_i64().map(i64::unsigned_abs).or(number.as_u64()).is_some_and(|n| n > INTEGER_MAX) => {
            Err(Refusal::argument(format!("{what}: a whole number is beyond 2^53")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(body: Value) -> Given {
        serde_json::from_value(body).expect("has the shape")
    }

    fn fresh() -> Twin {
        Twin::new(Timestamp::UNIX_EPOCH)
    }

    fn patch(twin: &Twin, body: Value) -> Result<Twin, Refusal> {
        twin.patched(Timestamp::UNIX_EPOCH, given(body))
    }

    #[test]
    fn a_patch_merges_and_null_deletes() {
        let twin = patch(&fresh(), json!({"tags": {"a": {"x": 1, "y": [1, 2]}, "b": 2}})).expect("patches");
        let twin = patch(&twin, json!({"tags": {"a": {"x": null, "y": [3]}, "c": true}})).expect("patches");
        assert_eq!(Value::Object(twin.tags.clone()), json!({"a": {"y": [3]}, "b": 2, "c": true}));
        assert_eq!((twin.etag_text().as_str(), twin.version), ("AAAAAAAAAAM=", 4));
        assert_eq!(twin.properties_to_json()["desired"]["$version"], 1, "tags alone do not move the desired properties");
    }

    #[test]
    fn a_put_replaces_and_takes_back_what_was_read() {
        let twin = patch(&fresh(), json!({"tags": {"a": 1}, "properties": {"desired": {"x": 1}}})).expect("patches");
        let read = twin.properties_to_json();
        let twin = twin.replaced(Timestamp::UNIX_EPOCH, given(json!({"tags": {"b": 2}, "properties": read}))).expect("replaces");
        assert_eq!(Value::Object(twin.tags.clone()), json!({"b": 2}));
        assert_eq!(twin.properties_to_json()["desired"]["x"], 1);
        let twin = twin.replaced(Timestamp::UNIX_EPOCH, given(json!({}))).expect("replaces");
        assert!(twin.tags.is_empty() && twin.properties_to_json()["desired"].get("x").is_none());
    }

    #[test]
    fn the_hubs_limits_hold() {
        let deep = (0..10).fold(json!(1), |inner, _| json!({"n": inner}));
        assert!(patch(&fresh(), json!({"tags": deep})).is_ok());
        assert!(patch(&fresh(), json!({"tags": {"n": deep}})).is_err());
        for name in ["qdrs.reservation", "a b", "$x", "#", "\u{7}"] {
            assert!(patch(&fresh(), json!({"tags": {name: 1}})).is_err(), "{name}");
        }
        assert!(patch(&fresh(), json!({"tags": {"a": "x".repeat(4096)}})).is_ok());
        assert!(patch(&fresh(), json!({"tags": {"a": "x".repeat(4097)}})).is_err());
        assert!(patch(&fresh(), json!({"tags": {"a": 1_u64 << 53}})).is_ok());
        assert!(patch(&fresh(), json!({"tags": {"a": (1_u64 << 53) + 1}})).is_err());
        let twin = patch(&fresh(), json!({"tags": {"a": "x".repeat(4000), "b": "x".repeat(4000)}})).expect("fits");
        assert!(patch(&twin, json!({"tags": {"c": "x".repeat(400)}})).is_err(), "8 KB in all");
        assert!(patch(&fresh(), json!({"tags": [1]})).is_err());
    }
}
