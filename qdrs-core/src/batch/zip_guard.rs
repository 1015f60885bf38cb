//! Looks at a workbook's parts before anybody reads them: how large each is once unpacked, and what it promises.
//!
//! An .xlsx is a zip of XML. A few kilobytes of it can unpack to terabytes, and a part can ask its reader for memory that
//! no machine has. So each part is unpacked here once, to nowhere, up to a limit.

use std::io::{Read, Seek};

use zip::ZipArchive;

/// The most parts of a workbook.
const PARTS_MAX: usize = 2000;
/// All parts together, unpacked, in bytes.
const TOTAL_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The table of texts, which is held in memory.
const TEXTS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The table of formats, which is held in memory.
const STYLES_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Any other part but a sheet or a picture.
const PART_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A picture.
const PICTURE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How much of a part is looked at for what it promises.
const BEGINNING_BYTES: usize = 64 * 1024;

const DAMAGED: &str = "is damaged, or no XLSX file";
const TOO_LARGE: &str = "unpacks to more than any list of serials has";

/// Refuses what is not to be read.
pub(super) fn check(file: impl Read + Seek) -> Result<(), &'static str> {
    let mut archive = ZipArchive::new(file).map_err(|_| DAMAGED)?;
    if archive.len() > PARTS_MAX {
        return Err("has more parts than any workbook");
    }
    let mut total = 0;
    let mut buffer = vec![0; BEGINNING_BYTES];
    for at in 0..archive.len() {
        let mut part = archive.by_index(at).map_err(|_| DAMAGED)?;
        let name = part.name().map_err(|_| DAMAGED)?.to_ascii_lowercase().replace('\\', "/");
        let limit = limit_of(&name).min(TOTAL_BYTES_MAX - total);
        let (mut bytes, mut beginning) = (0_u64, Vec::new());
        loop {
            let read = part.read(&mut buffer).map_err(|_| DAMAGED)?;
            bytes += read as u64;
            if bytes > limit {
                return Err(TOO_LARGE);
            }
            let wanted = BEGINNING_BYTES - beginning.len();
            beginning.extend_from_slice(&buffer[..read.min(wanted)]);
            if read == 0 {
                break;
            }
        }
        total += bytes;
        if name.ends_with("sharedstrings.xml") && !promises_no_more(&beginning, bytes) {
            return Err(DAMAGED);
        }
        // A sheet may be large only because nobody reads it as the workbook's own description.
        if name == "_rels/.rels" && beginning.windows(10).any(|bytes| bytes.eq_ignore_ascii_case(b"worksheets")) {
            return Err(DAMAGED);
        }
    }
    Ok(())
}

fn limit_of(name: &str) -> u64 {
    if name.ends_with("sharedstrings.xml") {
        TEXTS_BYTES_MAX
    } else if name.ends_with("styles.xml") {
        STYLES_BYTES_MAX
    } else if name.contains("worksheets/") {
        TOTAL_BYTES_MAX
    } else if name.contains("media/") {
        PICTURE_BYTES_MAX
    } else {
        PART_BYTES_MAX
    }
}

/// Does the table of texts claim to have no more texts than fit into it? Its reader makes room for as many as it claims.
fn promises_no_more(beginning: &[u8], bytes: u64) -> bool {
    let mut text = beginning.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(beginning).trim_ascii_start();
    // `<?xml … ?>`, then at once the table: a comment could hide another claim.
    while let Some(rest) = text.strip_prefix(b"<?") {
        let Some(end) = rest.windows(2).position(|two| two == b"?>") else { return false };
        text = rest[end + 2..].trim_ascii_start();
    }
    let Some(end) = text.iter().position(|byte| *byte == b'>') else { return false };
    let tag = &text[..end];
    if !tag.starts_with(b"<") || tag.starts_with(b"<!") || tag.contains(&0) {
        return false;
    }
    let claim = tag.windows(11).position(|word| word == b"uniqueCount").map_or(0, |at| {
        let digits = tag[at..].iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    });
    // `<si/>` is the shortest text there is.
    claim.saturating_mul(5) <= bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_texts_claims_what_it_has() {
        let head = r#"<?xml version="1.0"?><sst count="3" uniqueCount="3">"#;
        for (text, sound) in [
            (format!("{head}<si><t>a</t></si><si><t>b</t></si></sst>"), true),
            ("<sst/>".to_owned(), true),
            (head.replace("uniqueCount=\"3\"", "uniqueCount = '99999999999999999999'"), false),
            (format!("<!-- {} -->{head}", "x".repeat(10)), false),
            ("<sst uniqueCount=\"1\"".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(promises_no_more(text.as_bytes(), text.len() as u64), sound, "{text}");
        }
    }
}
