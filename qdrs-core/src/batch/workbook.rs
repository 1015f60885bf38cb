//! An .xlsx: a zip of XML parts. Which sheets it has, its table of texts, and its number formats.
//!
//! Whatever a workbook says of itself, no more is read than a list of serials can have, and no more is held than its texts.

use std::{
    collections::HashMap,
    io::{BufReader, Read, Seek, SeekFrom},
};

use quick_xml::events::Event;
use zip::{ZipArchive, read::ZipFile};

use super::{
    number_format::NumberFormat,
    source::Bytes,
    xml::{Xml, add_text, attribute, is_set, unescaped},
};

/// The longest workbook, in bytes.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The most parts of a workbook.
const PARTS_MAX: usize = 4000;
/// A sheet, or the table of texts, unpacked, in bytes.
const LARGE_PART_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Any other part that is read.
const PART_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// All texts together, in bytes.
const TEXTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most texts: each row of the longest sheet has four of its own.
const TEXTS_MAX: usize = 4 * 1024 * 1024;
/// The longest number format, in bytes; a spreadsheet takes 255 characters.
const FORMAT_BYTES_MAX: usize = 1024;

/// What is said of a workbook that is made to be too much.
pub(super) const TOO_LARGE: &str = "unpacks to more than any list of serials has";

/// Why a workbook can't be read: what is wrong with it, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) why: String,
    pub(super) help: String,
}

impl Broken {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), help: "open it in the spreadsheet program and save it again as .xlsx, or as `CSV UTF-8`".into() }
    }

    pub(super) fn damaged(how: &str) -> Self {
        Self::new(format!("is damaged: {how}"))
    }
}

/// A sheet as the workbook names it.
#[derive(Debug, Clone)]
pub(super) struct SheetName {
    pub(super) name: String,
    pub(super) hidden: bool,
    path: String,
}

/// An open workbook.
pub(super) struct Workbook<'f> {
    archive: ZipArchive<BufReader<&'f mut dyn Bytes>>,
    /// Its sheets in their order; no charts.
    pub(super) sheets: Vec<SheetName>,
    pub(super) known: Known,
}

/// One of its parts, while it is read.
pub(super) type Part<'a, 'f> = Xml<ZipFile<'a, BufReader<&'f mut dyn Bytes>>>;

/// What the cells of all sheets refer to.
#[derive(Debug, Default)]
pub(super) struct Known {
    texts: String,
    ends: Vec<u32>,
    formats: Vec<NumberFormat>,
    /// Of each style, which of the formats it has.
    styles: Vec<u16>,
    /// Do its days begin in 1904?
    pub(super) from_1904: bool,
}

impl Known {
    /// A text by its number.
    pub(super) fn text(&self, number: usize) -> Option<&str> {
        let end = *self.ends.get(number)? as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.texts.get(start..end)
    }

    /// The number format of a style.
    pub(super) fn format(&self, style: usize) -> Option<&NumberFormat> {
        self.formats.get(usize::from(*self.styles.get(style)?))
    }
}

impl<'f> Workbook<'f> {
    pub(super) fn open(file: &'f mut dyn Bytes) -> Result<Self, Broken> {
        let io = |error: std::io::Error| Broken::new(format!("can't be read: {error}"));
        if file.seek(SeekFrom::End(0)).map_err(io)? > FILE_BYTES_MAX {
            return Err(Broken::new("is larger than 128 MiB"));
        }
        file.rewind().map_err(io)?;
        if parts_in(BufReader::new(&mut *file)).map_err(io)? > PARTS_MAX {
            return Err(Broken::new("has more parts than any workbook"));
        }
        file.rewind().map_err(io)?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|_| Broken::new("is damaged, or no XLSX file"))?;
        let mut book = Self { archive, sheets: Vec::new(), known: Known::default() };
        let roots = book.links("")?;
        let main =
            roots.into_values().find(|link| link.kind == "officeDocument").map_or("xl/workbook.xml".into(), |link| link.path);
        let links = book.links(&main)?;
        book.read_sheets(&main, &links)?;
        for link in links.values() {
            match link.kind.as_str() {
                "sharedStrings" => book.read_texts(&link.path)?,
                "styles" => book.read_formats(&link.path)?,
                _ => {}
            }
        }
        Ok(book)
    }

    /// A sheet's part, and what its cells refer to.
    pub(super) fn sheet(&mut self, name: &str) -> Result<(Part<'_, 'f>, &Known), Broken> {
        let path = self.sheets.iter().find(|sheet| sheet.name == name).map_or("", |sheet| &sheet.path);
        let part = part(&mut self.archive, path, LARGE_PART_BYTES_MAX)?;
        Ok((part.ok_or_else(|| Broken::damaged(&format!("its sheet `{name}` is missing")))?, &self.known))
    }

    fn part(&mut self, path: &str, bytes_max: u64) -> Result<Option<Part<'_, 'f>>, Broken> {
        part(&mut self.archive, path, bytes_max)
    }

    /// What a part refers to, by the name that it uses.
    fn links(&mut self, path: &str) -> Result<HashMap<String, Link>, Broken> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let place = if folder.is_empty() { format!("_rels/{name}.rels") } else { format!("{folder}/_rels/{name}.rels") };
        let mut links = HashMap::new();
        let Some(mut part) = self.part(&place, PART_BYTES_MAX)? else { return Ok(links) };
        loop {
            match part.next()? {
                Event::Start(tag) if tag.local_name().as_ref() == "Relationship" => {
                    let (id, kind) = (attribute(&tag, "Id")?, attribute(&tag, "Type")?);
                    let (Some(id), Some(kind), Some(target)) = (id, kind, attribute(&tag, "Target")?) else { continue };
                    let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                    links.insert(id.into_owned(), Link { kind, path: joined(folder, &target) });
                }
                Event::Eof => return Ok(links),
                _ => {}
            }
        }
    }

    fn read_sheets(&mut self, path: &str, links: &HashMap<String, Link>) -> Result<(), Broken> {
        let (mut sheets, mut from_1904) = (Vec::new(), false);
        let Some(mut part) = self.part(path, PART_BYTES_MAX)? else {
            return Err(Broken::new("is no XLSX file: it has no workbook in it"));
        };
        loop {
            match part.next()? {
                Event::Start(tag) if tag.local_name().as_ref() == "workbookPr" => from_1904 |= is_set(&tag, "date1904")?,
                Event::Start(tag) if tag.local_name().as_ref() == "sheet" => {
                    let Some(link) = attribute(&tag, "id")?.and_then(|id| links.get(&*id)) else { continue };
                    if link.kind == "worksheet" {
                        let name = attribute(&tag, "name")?.unwrap_or_default().into_owned();
                        let hidden = attribute(&tag, "state")?.is_some_and(|state| state != "visible");
                        sheets.push(SheetName { name, hidden, path: link.path.clone() });
                    }
                }
                Event::End(tag) if tag.local_name().as_ref() == "sheets" => break,
                Event::Eof => return Err(Broken::damaged("it breaks off")),
                _ => {}
            }
        }
        drop(part);
        (self.sheets, self.known.from_1904) = (sheets, from_1904);
        Ok(())
    }

    fn read_texts(&mut self, path: &str) -> Result<(), Broken> {
        let (mut texts, mut ends) = (String::new(), Vec::new());
        let Some(mut part) = self.part(path, LARGE_PART_BYTES_MAX)? else { return Ok(()) };
        let mut text = String::new();
        loop {
            match part.next()? {
                Event::Start(tag) if tag.local_name().as_ref() == "si" => {
                    read_text(&mut part, "si", &mut text)?;
                    texts.push_str(&text);
                    if texts.len() > TEXTS_BYTES_MAX || ends.len() >= TEXTS_MAX {
                        return Err(Broken::new(TOO_LARGE));
                    }
                    ends.push(texts.len() as u32);
                }
                Event::End(tag) if tag.local_name().as_ref() == "sst" => break,
                Event::Eof => return Err(Broken::damaged("its texts break off")),
                _ => {}
            }
        }
        drop(part);
        (self.known.texts, self.known.ends) = (texts, ends);
        Ok(())
    }

    fn read_formats(&mut self, path: &str) -> Result<(), Broken> {
        let (mut formats, mut styles) = (Vec::new(), Vec::new());
        let Some(mut part) = self.part(path, PART_BYTES_MAX)? else { return Ok(()) };
        // By their numbers; the place in `formats`.
        let (mut own, mut places, mut in_cells) = (HashMap::new(), HashMap::new(), false);
        loop {
            match part.next()? {
                Event::Start(tag) => match tag.local_name().as_ref() {
                    "numFmt" => {
                        let (number, code) = (attribute(&tag, "numFmtId")?, attribute(&tag, "formatCode")?);
                        if let (Some(number), Some(code)) = (number.and_then(|number| number.parse::<u32>().ok()), code)
                            && code.len() <= FORMAT_BYTES_MAX
                        {
                            own.insert(number, NumberFormat::parse(&code));
                        }
                    }
                    "cellXfs" => in_cells = true,
                    "xf" if in_cells => {
                        let number = attribute(&tag, "numFmtId")?.and_then(|number| number.parse().ok()).unwrap_or(0);
                        let place = *places.entry(number).or_insert_with(|| {
                            formats.push(own.get(&number).cloned().unwrap_or_else(|| NumberFormat::built_in(number)));
                            formats.len() - 1
                        });
                        styles.push(u16::try_from(place).map_err(|_| Broken::new(TOO_LARGE))?);
                    }
                    _ => {}
                },
                Event::End(tag) if tag.local_name().as_ref() == "cellXfs" => break,
                Event::Eof => break,
                _ => {}
            }
        }
        drop(part);
        (self.known.formats, self.known.styles) = (formats, styles);
        Ok(())
    }
}

/// What one part says of another.
struct Link {
    kind: String,
    path: String,
}

/// The text of an element that has just begun, up to its end: of all its runs, without what only tells how it is spoken.
pub(super) fn read_text<R: Read>(part: &mut Xml<R>, name: &str, text: &mut String) -> Result<(), Broken> {
    text.clear();
    let (mut run, mut keeps_blanks, mut spoken) = (None::<String>, false, false);
    loop {
        match part.next()? {
            Event::Start(tag) => match tag.local_name().as_ref() {
                "rPh" => spoken = true,
                "t" if !spoken => {
                    keeps_blanks = attribute(&tag, "space")?.is_some_and(|space| space == "preserve");
                    run = Some(String::new());
                }
                _ => {}
            },
            Event::End(tag) => match tag.local_name().as_ref() {
                "rPh" => spoken = false,
                "t" => {
                    if let Some(run) = run.take() {
                        let blanks = |c: char| !keeps_blanks && matches!(c, ' ' | '\t' | '\r' | '\n');
                        let run = unescaped(run.trim_matches(blanks)).into_owned();
                        add_text(&Event::Text(quick_xml::events::BytesText::from_escaped(run)), text)?;
                    }
                }
                end if end == name => return Ok(()),
                _ => {}
            },
            Event::Eof => return Err(Broken::damaged("a text of it breaks off")),
            event => {
                if let Some(run) = &mut run {
                    add_text(&event, run)?;
                }
            }
        }
    }
}

/// A part by its path, in whatever letters.
fn part<'a, R: Read + Seek>(
    archive: &'a mut ZipArchive<R>,
    path: &str,
    bytes_max: u64,
) -> Result<Option<Xml<ZipFile<'a, R>>>, Broken> {
    let same = |name: &[u8]| {
        let plain = |byte: &u8| if *byte == b'\\' { b'/' } else { byte.to_ascii_lowercase() };
        name.iter().map(plain).eq(path.bytes().map(|byte| byte.to_ascii_lowercase()))
    };
    let Some(at) = archive.file_names_raw().position(same) else { return Ok(None) };
    let part = archive.by_index(at).map_err(|_| Broken::new("is damaged, or no XLSX file"))?;
    Ok(Some(Xml::new(part, bytes_max)))
}

/// A path that is written as seen from a folder.
fn joined(folder: &str, target: &str) -> String {
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.to_owned();
    }
    let mut steps: Vec<&str> = folder.split('/').filter(|step| !step.is_empty()).collect();
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    steps.join("/")
}

/// How many parts a zip has, at least: counted before anybody makes room for each.
fn parts_in(mut file: impl Read) -> std::io::Result<usize> {
    const MARK: &[u8] = b"PK\x01\x02";
    let (mut buffer, mut kept, mut count) = (vec![0; 64 * 1024], 0, 0);
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            return Ok(count);
        }
        let end = kept + read;
        count += buffer[..end].windows(MARK.len()).filter(|window| *window == MARK).count();
        // A mark may lie across two readings.
        kept = end.min(MARK.len() - 1);
        buffer.copy_within(end - kept..end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_their_folder() {
        for (folder, target, path) in [
            ("xl", "worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
            ("xl", "/xl/styles.xml", "xl/styles.xml"),
            ("", "xl/workbook.xml", "xl/workbook.xml"),
            ("a/b", "../c/./d.xml", "a/c/d.xml"),
            ("", "../../x", "x"),
        ] {
            assert_eq!(joined(folder, target), path);
        }
    }

    #[test]
    fn parts_are_counted_wherever_a_reading_ends() {
        for before in [0, 64 * 1024 - 2, 64 * 1024] {
            let mut bytes = vec![b'x'; before];
            bytes.extend(b"PK\x01\x02PK\x01\x02PK\x01");
            assert_eq!(parts_in(&*bytes).expect("reads"), 2, "{before}");
        }
    }
}
