//! The report: what a station has done with each serial, for people (a table), for spreadsheets (CSV), for programs (JSON).

use std::path::Path;

use comfy_table::{Table, presets};
use jiff::{Timestamp, tz::TimeZone};
use qdrs_core::{
    api::{Code, Evidence},
    batch::Extra,
    csv_out::CsvWriter,
    hardware_id::HardwareId,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    failure::Failure,
    journal::{JobState, Phase},
    printer::printable,
    secret_file,
};

/// The widest table that still has the batch's own columns, in characters.
const TABLE_CHARS_MAX: usize = 120;
/// The columns of a report in CSV; those of the batch follow.
const CSV_HEADER: [&str; 10] =
    ["serial", "state", "slot", "batch", "evidence", "hardware_id", "started_at", "changed_at", "failure", "detail"];

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// For programs: one object a line, a summary last
    Json,
}

impl Format {
    /// The format that a file's ending asks for.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "txt" => Some(Self::Table),
            _ => None,
        }
    }
}

/// One serial of a report.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// As it was sent to the service.
    pub serial: String,
    /// Where its work stands.
    pub state: Phase,
    /// The place for the device.
    pub slot: Option<String>,
    /// The lot.
    pub batch: Option<String>,
    /// What shows that the device holds its credential.
    pub evidence: Option<Evidence>,
    /// The board.
    pub hardware_id: Option<HardwareId>,
    /// When its work began.
    pub started_at: Timestamp,
    /// When something happened last.
    pub changed_at: Timestamp,
    /// The last failure's code.
    pub failure: Option<String>,
    /// What happened then.
    pub detail: Option<String>,
    /// What the batch has beside the serial.
    #[serde(skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

impl From<&JobState> for Row {
    fn from(state: &JobState) -> Self {
        let (failure, detail) = state.failed.as_ref().map(|failed| (failed.code.clone(), failed.detail.clone())).unzip();
        Self {
            serial: state.serial.clone(),
            state: state.phase(),
            slot: state.slot.clone(),
            batch: state.batch.clone(),
            evidence: state.written.as_ref().map(|written| written.evidence),
            hardware_id: state
                .written
                .as_ref()
                .and_then(|written| written.hardware_id.clone())
                .or_else(|| state.hardware_id.clone()),
            started_at: state.started_at,
            changed_at: state.changed_at,
            failure,
            detail,
            extra: state.extra.clone(),
        }
    }
}

/// What a station has done.
#[derive(Debug, Clone, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// The report of some serials, in their order.
    pub fn of<'a>(states: impl IntoIterator<Item = &'a JobState>) -> Self {
        Self { rows: states.into_iter().map(Row::from).collect() }
    }

    /// Leaves out what is not asked for.
    pub fn keep(&mut self, asked: impl FnMut(&Row) -> bool) {
        self.rows.retain(asked);
    }

    /// How many serials stand where, in the order of [`Phase::ALL`].
    pub fn totals(&self) -> [(Phase, usize); 6] {
        Phase::ALL.map(|phase| (phase, self.rows.iter().filter(|row| row.state == phase).count()))
    }

    /// Writes it to a file; one that holds what stands in a batch beside the serials is readable by its owner only (0600).
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn save(&self, path: &Path, format: Format, zone: &TimeZone) -> Result<(), Failure> {
        let text = self.write(format, zone);
        // A pipe or a device stays what it is.
        let is_file = std::fs::metadata(path).map_or(true, |metadata| metadata.is_file());
        let private = is_file && self.rows.iter().any(|row| !row.extra.is_empty());
        let written = if private { secret_file::write(path, text.as_bytes()) } else { std::fs::write(path, text) };
        written.map_err(|error| {
            Failure::new(Code::FileUnwritable, format!("the report `{}` can't be written: {error}", path.display()))
        })
    }

    /// The whole text; `zone` is for the table, the other formats have UTC.
    pub fn write(&self, format: Format, zone: &TimeZone) -> String {
        match format {
            Format::Table => self.table(zone),
            Format::Csv => self.csv(),
            Format::Json => self.json(),
        }
    }

    fn table(&self, zone: &TimeZone) -> String {
        let at = |time: Timestamp| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let extras = self.extra_names();
        let lines = |extras: &[&str]| -> String {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            let header = ["SERIAL", "STATE", "SLOT", "EVIDENCE", "STARTED", "CHANGED", "LAST FAILURE"];
            table.set_header(header.into_iter().map(str::to_owned).chain(extras.iter().map(|name| printable(name))));
            for row in &self.rows {
                let cells = [
                    printable(&row.serial),
                    row.state.as_str().to_owned(),
                    row.slot.clone().unwrap_or_default(),
                    row.evidence.map(|evidence| evidence.to_string()).unwrap_or_default(),
                    at(row.started_at),
                    at(row.changed_at),
                    row.failure.clone().unwrap_or_default(),
                ];
                let extra = extras.iter().map(|name| printable(row.extra.get(name).unwrap_or_default()));
                table.add_row(cells.into_iter().chain(extra));
            }
            table.lines().map(|line| line.trim_end().trim_start_matches(' ').to_owned() + "\n").collect()
        };
        let mut table = lines(&extras);
        if !extras.is_empty() && table.lines().any(|line| line.chars().count() > TABLE_CHARS_MAX) {
            table = lines(&[]) + &format!("\nToo wide for a table, but in CSV and JSON: {}\n", printable(&extras.join(", ")));
        }
        let totals: Vec<_> = self
            .totals()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(phase, count)| format!("{count} {}", phase.as_str()))
            .collect();
        format!("{table}\n{} serials{}{}\n", self.rows.len(), if totals.is_empty() { "" } else { ": " }, totals.join(", "))
    }

    fn csv(&self) -> String {
        let mut bytes = Vec::new();
        let mut writer = CsvWriter::new(&mut bytes);
        let extras = self.extra_names();
        // A batch may have a column that is called as one of ours.
        let named = |name: &&str| if CSV_HEADER.contains(name) { format!("{name} (batch)") } else { (*name).to_owned() };
        let header = CSV_HEADER.iter().map(|name| (*name).to_owned()).chain(extras.iter().map(named));
        // Writing to memory can't fail.
        let _ = writer.write(header);
        for row in &self.rows {
            let cells = [
                row.serial.clone(),
                row.state.as_str().to_owned(),
                row.slot.clone().unwrap_or_default(),
                row.batch.clone().unwrap_or_default(),
                row.evidence.map(|evidence| evidence.to_string()).unwrap_or_default(),
                row.hardware_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                row.started_at.to_string(),
                row.changed_at.to_string(),
                row.failure.clone().unwrap_or_default(),
                row.detail.clone().unwrap_or_default(),
            ];
            let extra = extras.iter().map(|name| row.extra.get(name).unwrap_or_default().to_owned());
            let _ = writer.write(cells.into_iter().chain(extra));
        }
        let _ = writer.flush();
        drop(writer);
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// The names of what the batches have beside the serials, in the order in which they come first.
    fn extra_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for (name, _) in self.rows.iter().flat_map(|row| row.extra.iter()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn json(&self) -> String {
        let mut text = String::new();
        let mut line = |event: serde_json::Value| text.push_str(&format!("{event}\n"));
        for row in &self.rows {
            let mut event = json!({ "v": 1, "event": "serial" });
            if let (Some(event), Ok(serde_json::Value::Object(row))) = (event.as_object_mut(), serde_json::to_value(row)) {
                event.extend(row.into_iter().filter(|(_, value)| !value.is_null()));
            }
            line(event);
        }
        let mut summary = json!({ "v": 1, "event": "summary", "exit": 0, "serials": self.rows.len() });
        for (phase, count) in self.totals() {
            summary[phase.as_str()] = count.into();
        }
        line(summary);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(serial: &str, state: Phase, failure: Option<&str>) -> Row {
        Row {
            serial: serial.into(),
            state,
            slot: Some("1".into()),
            batch: Some("week-47".into()),
            evidence: (state == Phase::Passed).then_some(Evidence::ReadBack),
            hardware_id: None,
            started_at: Timestamp::UNIX_EPOCH,
            changed_at: Timestamp::UNIX_EPOCH,
            failure: failure.map(str::to_owned),
            detail: failure.map(|_| "the device went away".to_owned()),
            extra: Extra::default(),
        }
    }

    #[test]
    fn the_report_is_as_it_should_be() {
        let report = Report {
            rows: vec![
                row("QD-00001-5", Phase::Passed, None),
                row("=HYPERLINK(\"http://x\")", Phase::Failed, Some("device-gone")),
                row("QD-\u{1b}[2J", Phase::Open, None),
            ],
        };
        insta::assert_snapshot!(report.write(Format::Table, &TimeZone::UTC));
        insta::assert_snapshot!(report.write(Format::Csv, &TimeZone::UTC));
        insta::assert_snapshot!(report.write(Format::Json, &TimeZone::UTC));
    }

    #[test]
    fn what_the_batch_has_beside_the_serials_comes_along() {
        let extra = |json: &str| serde_json::from_str(json).expect("reads");
        let mut rows = vec![row("A1", Phase::Passed, None), row("A2", Phase::Open, None)];
        rows[0].extra = extra(r#"{"lot":"W47","state":"=new"}"#);
        rows[1].extra = extra(r#"{"colour":"red"}"#);
        let mut report = Report { rows };
        insta::assert_snapshot!(
            "beside",
            [Format::Table, Format::Csv, Format::Json].map(|format| report.write(format, &TimeZone::UTC)).join("\n")
        );
        report.rows[1].extra = extra(&format!(r#"{{"note":"{}"}}"#, "x".repeat(60)));
        let table = report.write(Format::Table, &TimeZone::UTC);
        assert!(table.contains("in CSV and JSON: lot, state, note") && !table.contains("xxx"), "{table}");
    }

    #[cfg(unix)]
    #[test]
    fn a_report_with_what_stands_beside_the_serials_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("makes a folder");
        let path = folder.path().join("shift.csv");
        let mode = |report: &Report| {
            report.save(&path, Format::Csv, &TimeZone::UTC).expect("writes");
            std::fs::metadata(&path).expect("is there").permissions().mode() & 0o077
        };
        let mut report = Report { rows: vec![row("A1", Phase::Passed, None)] };
        report.rows[0].extra = serde_json::from_str(r#"{"lot":"W47"}"#).expect("reads");
        assert_eq!(mode(&report), 0);
        // A pipe or a device is written to, never replaced.
        report.save(Path::new("/dev/null"), Format::Csv, &TimeZone::UTC).expect("writes");
        assert!(!std::fs::metadata("/dev/null").expect("is there").is_file());
    }

    #[test]
    fn a_report_of_nothing_says_so() {
        assert!(Report::default().write(Format::Table, &TimeZone::UTC).ends_with("\n0 serials\n"));
    }
}
