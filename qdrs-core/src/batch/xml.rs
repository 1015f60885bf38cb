//! The XML of one part of a workbook, piece by piece.
//!
//! A few kilobytes of a zip can unpack to terabytes, and XML can have all of that in one text or one tag. So no piece is
//! longer than any that a spreadsheet writes, none lies deeper, and a part has an end.

use std::{
    borrow::Cow,
    io::{self, BufRead, BufReader, Read},
};

use quick_xml::{
    Error, Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};

use super::workbook::{Broken, TOO_LARGE};

/// The longest tag or text between tags. Excel's longest text has 32,767 characters.
const PIECE_BYTES_MAX: usize = 1024 * 1024;
/// How many tags may be open.
const DEPTH_MAX: usize = 64;
/// The longest name of a tag.
const NAME_BYTES_MAX: usize = 128;
/// What is kept of a text; no serial and no further column is longer.
const TEXT_BYTES_MAX: usize = 4096;

/// A part while it is read.
pub(super) struct Xml<R: Read> {
    reader: Reader<Bounded<BufReader<R>>>,
    buffer: Vec<u8>,
    depth: usize,
}

impl<R: Read> Xml<R> {
    /// From its beginning; it may have that many bytes.
    pub(super) fn new(part: R, bytes_max: u64) -> Self {
        let inner = BufReader::with_capacity(64 * 1024, part);
        let mut reader = Reader::from_reader(Bounded { inner, piece: PIECE_BYTES_MAX, whole: bytes_max });
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new(), depth: 0 }
    }

    /// The next tag or text.
    pub(super) fn next(&mut self) -> Result<Event<'_>, Broken> {
        self.buffer.clear();
        self.reader.get_mut().piece = PIECE_BYTES_MAX;
        let event = self.reader.read_event_into(&mut self.buffer).map_err(|error| match &error {
            Error::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => Broken::new(TOO_LARGE),
            error => Broken::damaged(&error.to_string()),
        })?;
        match &event {
            Event::Start(tag) => {
                self.depth += 1;
                if self.depth > DEPTH_MAX || tag.name().as_ref().len() > NAME_BYTES_MAX {
                    return Err(Broken::damaged("a part of it is no spreadsheet's"));
                }
            }
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            // No workbook has one, and it could give names to texts of any length.
            Event::DocType(_) => return Err(Broken::damaged("a part of it has a document type")),
            _ => {}
        }
        Ok(event)
    }
}

/// The attribute of that name, whatever its namespace.
pub(super) fn attribute<'t>(tag: &'t BytesStart<'_>, name: &str) -> Result<Option<Cow<'t, str>>, Broken> {
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| Broken::damaged(&error.to_string()))?;
        if attribute.key.local_name().as_ref() == name {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            return value.map(Some).map_err(|error| Broken::damaged(&error.to_string()));
        }
    }
    Ok(None)
}

/// Is that attribute set?
pub(super) fn is_set(tag: &BytesStart<'_>, name: &str) -> Result<bool, Broken> {
    Ok(attribute(tag, name)?.is_some_and(|value| matches!(&*value, "1" | "true")))
}

/// Adds what a piece says to a text, as far as that is kept.
pub(super) fn add_text(event: &Event<'_>, text: &mut String) -> Result<(), Broken> {
    match event {
        Event::Text(piece) => add(text, &piece.xml10_content()),
        Event::CData(piece) => add(text, &piece.xml10_content()),
        Event::GeneralRef(piece) => match (piece.resolve_char_ref(), resolve_predefined_entity(piece)) {
            (Ok(Some(character)), _) => add(text, character.encode_utf8(&mut [0; 4])),
            (_, Some(piece)) => add(text, piece),
            _ => return Err(Broken::damaged("a text of it names a character that is unknown")),
        },
        _ => {}
    }
    Ok(())
}

fn add(text: &mut String, piece: &str) {
    let mut end = piece.len().min(TEXT_BYTES_MAX.saturating_sub(text.len()));
    while !piece.is_char_boundary(end) {
        end -= 1;
    }
    text.push_str(&piece[..end]);
}

/// A text without the escapes that stand for characters XML can't have: `_x000D_` is a carriage return.
///
/// Source: ECMA-376, part 1, 22.9.2.19.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    let escape = |text: &str| {
        let hex = text.get(2..6).filter(|hex| text.get(6..7) == Some("_") && hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some(u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER))
    };
    if !text.contains("_x") {
        return Cow::Borrowed(text);
    }
    let (mut whole, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("_x") {
        whole.push_str(&rest[..at]);
        rest = &rest[at..];
        let (kept, taken) = match escape(rest) {
            Some(character) => (character, 7),
            None => ('_', 1),
        };
        whole.push(kept);
        rest = &rest[taken..];
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// Gives no more than it may.
struct Bounded<R> {
    inner: R,
    piece: usize,
    whole: u64,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut some = self.fill_buf()?;
        let read = some.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece == 0 || self.whole == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.piece = self.piece.saturating_sub(bytes);
        self.whole = self.whole.saturating_sub(bytes as u64);
        self.inner.consume(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<String, Broken> {
        let mut part = Xml::new(xml.as_bytes(), 8 * PIECE_BYTES_MAX as u64);
        let mut text = String::new();
        loop {
            match part.next()? {
                Event::Eof => return Ok(text),
                event => add_text(&event, &mut text)?,
            }
        }
    }

    #[test]
    fn a_text_is_read_with_its_references_and_never_longer_than_it_may_be() {
        assert_eq!(read("<a>x &amp;<!-- no --> &#48;<b/><![CDATA[<y>]]></a>"), Ok("x & 0<y>".into()));
        assert_eq!(read(&format!("<a>{}</a>", "ä".repeat(5000))).map(|text| text.len()), Ok(TEXT_BYTES_MAX));
        let long = " ".repeat(PIECE_BYTES_MAX + 100_000);
        for xml in [
            format!("<a>{long}</a>"),
            format!("<a b='{long}'/>"),
            format!("<a><!-- {long} --></a>"),
            format!("<a><![CDATA[{long}]]></a>"),
            format!("<a>{}</a>", "<b> </b>".repeat(2 * PIECE_BYTES_MAX)),
        ] {
            let why = read(&xml).expect_err("is too much").why;
            assert_eq!(why, TOO_LARGE, "{}", &xml[..20]);
        }
        for xml in ["<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<a>&b;</a>", "<a></b>", &"<a>".repeat(100)] {
            assert!(read(xml).is_err(), "{xml}");
        }
    }

    #[test]
    fn escapes_of_a_spreadsheet_are_its_characters() {
        for (text, said) in [
            ("QD_x002D_7", "QD-7"),
            ("_x005F_x000D_", "_x000D_"),
            ("_x00", "_x00"),
            ("a_xä000_", "a_xä000_"),
            ("_xD800_", "\u{fffd}"),
            ("_", "_"),
        ] {
            assert_eq!(unescaped(text), said);
        }
    }
}
