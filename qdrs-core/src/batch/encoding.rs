//! The text of a file, whatever its encoding: UTF-8, UTF-16, Shift-JIS or Windows-1252 in, UTF-8 with plain line feeds out.
//!
//! [`sniff`] looks at the whole file once and decides; [`Decoder`] then reads it in pieces. Neither ever holds more than a
//! piece. The encoding is the one that a byte order mark names, else UTF-8 if all of the file is; else what has the zeros of
//! UTF-16 is that, what begins with Japanese syllables in Shift-JIS is that, and anything else Windows-1252, which every byte
//! is, so that is said.

use std::io::{self, Read};

/// How much is read at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// How much of the beginning tells UTF-16 and what is no text at all, in bytes.
const BEGINNING_BYTES: usize = 4096;

/// How the bytes of a file are its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8, with or without a byte order mark.
    Utf8,
    /// UTF-16, low byte first: what Windows calls "Unicode".
    Utf16Le,
    /// UTF-16, high byte first.
    Utf16Be,
    /// Japanese Windows.
    ShiftJis,
    /// Western Windows, for want of anything better.
    Windows1252,
}

impl Encoding {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le | Self::Utf16Be => "UTF-16",
            Self::ShiftJis => "Shift-JIS",
            Self::Windows1252 => "Windows-1252",
        }
    }
}

/// Why a file is no text that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoText {
    /// Programs, pictures and the like.
    Binary,
    /// UTF-32.
    Utf32,
    /// Most of its bytes are no ASCII, and serials are.
    Foreign,
}

/// What a look at all of a file told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sniffed {
    pub(super) encoding: Encoding,
    /// Length of the byte order mark.
    mark: usize,
    /// Are there carriage returns? Most files have either none or one a line.
    returns: bool,
    /// The first line that is not UTF-8, where that matters.
    pub(super) not_utf8: Option<u32>,
    /// Why it is most likely no text that can be read, if it is not.
    pub(super) no_text: Option<NoText>,
    /// Its length in bytes.
    pub(super) bytes: u64,
}

/// Looks at all of a file, or at its first `bytes_max`.
pub(super) fn sniff(mut from: impl Read, bytes_max: u64) -> io::Result<Sniffed> {
    let mut piece = vec![0; PIECE_BYTES];
    // The start of a character whose end is in the next piece stays at the front of the buffer.
    let (mut kept, mut bytes, mut lines) = (0, 0_u64, 1_u32);
    let mut found = Sniffed { encoding: Encoding::Utf8, mark: 0, returns: false, not_utf8: None, no_text: None, bytes: 0 };
    let (mut named, mut fallback) = (false, Encoding::Windows1252);
    loop {
        let read = read_full(&mut from, &mut piece[kept..])?;
        let (first, last) = (bytes == 0, read == 0);
        bytes += read as u64;
        let text = &piece[..kept + read];
        if first {
            (found.encoding, found.mark, named) = begins_as(text);
            let beginning = &text[..text.len().min(BEGINNING_BYTES)];
            found.no_text = no_text(found.encoding, named, beginning);
            if is_shift_jis(beginning) {
                fallback = Encoding::ShiftJis;
            }
        }
        found.returns |= text.contains(&b'\r');
        if found.encoding == Encoding::Utf8 && found.not_utf8.is_none() {
            match std::str::from_utf8(text) {
                Ok(_) => kept = 0,
                Err(error) if error.error_len().is_none() && !last => kept = text.len() - error.valid_up_to(),
                Err(error) => {
                    found.not_utf8 = Some(lines + count_lines(&text[..error.valid_up_to()]));
                    kept = 0;
                }
            }
        }
        let done = text.len() - kept;
        lines = lines.saturating_add(count_lines(&text[..done]));
        piece.copy_within(done..done + kept, 0);
        if last || bytes > bytes_max {
            break;
        }
    }
    // A mark says UTF-8, and some rows are not: every other encoding would be worse.
    if found.not_utf8.is_some() && !named {
        found.encoding = fallback;
        if fallback == Encoding::ShiftJis {
            found.no_text = None;
        }
    }
    // Half of its bytes are carriage returns' other halves, perhaps.
    found.returns |= matches!(found.encoding, Encoding::Utf16Le | Encoding::Utf16Be);
    found.bytes = bytes;
    Ok(found)
}

/// The encoding that a byte order mark or the zeros of UTF-16 tell, the mark's length, and whether there is a mark.
fn begins_as(bytes: &[u8]) -> (Encoding, usize, bool) {
    match bytes {
        [0xEF, 0xBB, 0xBF, ..] => (Encoding::Utf8, 3, true),
        [0xFF, 0xFE, ..] => (Encoding::Utf16Le, 2, true),
        [0xFE, 0xFF, ..] => (Encoding::Utf16Be, 2, true),
        _ => {
            let zeros = |parity: usize| bytes.iter().take(BEGINNING_BYTES).skip(parity).step_by(2).filter(|b| **b == 0).count();
            let (even, odd, half) = (zeros(0), zeros(1), bytes.len().min(BEGINNING_BYTES) / 2);
            let has_unit = |unit: [u8; 2]| bytes.chunks_exact(2).any(|other| other == unit);
            if odd * 10 > half * 7 && even * 10 < half * 3 {
                (Encoding::Utf16Le, 0, false)
            } else if even * 10 > half * 7 && odd * 10 < half * 3 {
                (Encoding::Utf16Be, 0, false)
            } else if odd * 10 > half && even * 20 < odd && has_unit([b'\n', 0]) {
                // Texts beyond Latin have fewer zeros, but all on the same side.
                (Encoding::Utf16Le, 0, false)
            } else if even * 10 > half && odd * 20 < even && has_unit([0, b'\n']) {
                (Encoding::Utf16Be, 0, false)
            } else {
                (Encoding::Utf8, 0, false)
            }
        }
    }
}

/// One control character in ten is more than any list has, and so are more characters of another alphabet than serials.
fn no_text(encoding: Encoding, named: bool, bytes: &[u8]) -> Option<NoText> {
    let share =
        |wanted: fn(&u8) -> bool, in_ten: usize| bytes.iter().filter(|byte| wanted(byte)).count() * 10 > bytes.len() * in_ten;
    let zeros_in_four = bytes.chunks_exact(4).filter(|unit| matches!(unit, [0, 0, 0, _] | [_, 0, 0, 0])).count();
    if zeros_in_four * 8 > bytes.len() {
        return Some(NoText::Utf32);
    }
    if encoding != Encoding::Utf8 {
        return None;
    }
    if share(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n' | 0x1a | 0x1d), 1) {
        return Some(NoText::Binary);
    }
    let is_utf8 = named || std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true);
    (!is_utf8 && share(|byte| *byte >= 0x80, 6)).then_some(NoText::Foreign)
}

/// Is it whole in Shift-JIS, with syllables that no western text has by chance?
fn is_shift_jis(beginning: &[u8]) -> bool {
    let mut decoder = encoding_rs::SHIFT_JIS.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(decoder.max_utf8_buffer_length(beginning.len()).unwrap_or(0));
    // The beginning may end within a character.
    let (_, _, broken) = decoder.decode_to_string(beginning, &mut text, false);
    let kana = text.chars().filter(|c| matches!(c, '\u{3041}'..='\u{30ff}')).count();
    !broken && kana > 1
}

fn count_lines(bytes: &[u8]) -> u32 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u32
}

/// Reads until the buffer is full or the file ends.
fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match from.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// A file's text in pieces: UTF-8, each line ended by one line feed, the last one too.
pub(super) struct Decoder<R> {
    from: R,
    raw: Vec<u8>,
    ready: Vec<u8>,
    decoder: Option<encoding_rs::Decoder>,
    /// Bytes of the byte order mark that are still to come.
    mark: usize,
    returns: bool,
    after_return: bool,
    ended: bool,
    last: u8,
}

impl<R: Read> Decoder<R> {
    /// Of a file that was looked at before, from its beginning.
    pub(super) fn new(from: R, sniffed: &Sniffed) -> Self {
        let decoder = match sniffed.encoding {
            // Bytes that are none become U+FFFD: the file is UTF-8 by its mark, or by all of it.
            Encoding::Utf8 if sniffed.not_utf8.is_none() => None,
            Encoding::Utf8 => Some(encoding_rs::UTF_8.new_decoder_without_bom_handling()),
            Encoding::Utf16Le => Some(encoding_rs::UTF_16LE.new_decoder_without_bom_handling()),
            Encoding::Utf16Be => Some(encoding_rs::UTF_16BE.new_decoder_without_bom_handling()),
            Encoding::ShiftJis => Some(encoding_rs::SHIFT_JIS.new_decoder_without_bom_handling()),
            Encoding::Windows1252 => Some(encoding_rs::WINDOWS_1252.new_decoder_without_bom_handling()),
        };
        Self {
            from,
            raw: vec![0; PIECE_BYTES],
            ready: Vec::with_capacity(PIECE_BYTES + 1),
            decoder,
            mark: sniffed.mark,
            returns: sniffed.returns,
            after_return: false,
            ended: false,
            last: b'\n',
        }
    }

    /// The next piece; empty at the end.
    pub(super) fn piece(&mut self) -> io::Result<&[u8]> {
        self.ready.clear();
        while self.ready.is_empty() && !self.ended {
            let read = read_full(&mut self.from, &mut self.raw)?;
            self.ended = read < self.raw.len();
            let skipped = self.mark.min(read);
            self.mark -= skipped;
            let raw = &self.raw[skipped..read];
            match &mut self.decoder {
                None => self.ready.extend_from_slice(raw),
                Some(decoder) => {
                    let room = decoder.max_utf8_buffer_length(raw.len()).unwrap_or(4 * PIECE_BYTES);
                    self.ready.resize(room, 0);
                    let (_, _, written, _) = decoder.decode_to_utf8(raw, &mut self.ready, self.ended);
                    self.ready.truncate(written);
                }
            }
            if self.returns {
                self.plain_line_ends();
            }
            self.last = self.ready.last().copied().unwrap_or(self.last);
            if self.ended && self.last != b'\n' {
                self.ready.push(b'\n');
            }
        }
        Ok(&self.ready)
    }

    /// CR LF and CR alone become LF.
    fn plain_line_ends(&mut self) {
        let text = &mut self.ready;
        let (mut from, mut to) = (usize::from(self.after_return && text.first() == Some(&b'\n')), 0);
        if !text.is_empty() {
            self.after_return = false;
        }
        while let Some(length) = text[from..].iter().position(|byte| *byte == b'\r') {
            text.copy_within(from..from + length, to);
            to += length;
            text[to] = b'\n';
            to += 1;
            from += length + 1;
            match text.get(from) {
                Some(b'\n') => from += 1,
                Some(_) => {}
                None => self.after_return = true,
            }
        }
        let rest = text.len() - from;
        text.copy_within(from.., to);
        text.truncate(to + rest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(bytes: &[u8]) -> (Encoding, String) {
        let sniffed = sniff(bytes, u64::MAX).expect("reads");
        let mut decoder = Decoder::new(bytes, &sniffed);
        let mut text = Vec::new();
        loop {
            let piece = decoder.piece().expect("reads").to_vec();
            if piece.is_empty() {
                return (sniffed.encoding, String::from_utf8(text).expect("is UTF-8"));
            }
            text.extend(piece);
        }
    }

    fn utf16(text: &str, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes_of).collect()
    }

    #[test]
    fn every_encoding_gives_the_same_text() {
        let text = "serial;größe\r\nA1;3\rA2;4";
        let plain = "serial;größe\nA1;3\nA2;4\n";
        let windows = encoding_rs::WINDOWS_1252.encode(text).0.into_owned();
        for (bytes, encoding) in [
            (text.as_bytes().to_vec(), Encoding::Utf8),
            ([b"\xEF\xBB\xBF", text.as_bytes()].concat(), Encoding::Utf8),
            ([b"\xFF\xFE".to_vec(), utf16(text, u16::to_le_bytes)].concat(), Encoding::Utf16Le),
            ([b"\xFE\xFF".to_vec(), utf16(text, u16::to_be_bytes)].concat(), Encoding::Utf16Be),
            (utf16(text, u16::to_le_bytes), Encoding::Utf16Le),
            (utf16(text, u16::to_be_bytes), Encoding::Utf16Be),
            (windows, Encoding::Windows1252),
        ] {
            assert_eq!(decoded(&bytes), (encoding, plain.to_owned()));
        }
        let japanese = "シリアル番号,色\nA1,赤\n";
        for (bytes, encoding) in [
            (encoding_rs::SHIFT_JIS.encode(japanese).0.into_owned(), Encoding::ShiftJis),
            (utf16(japanese, u16::to_le_bytes), Encoding::Utf16Le),
            (utf16(japanese, u16::to_be_bytes), Encoding::Utf16Be),
        ] {
            assert_eq!(decoded(&bytes), (encoding, japanese.to_owned()));
        }
    }

    #[test]
    fn what_is_no_text_is_told_by_its_kind() {
        let utf32: Vec<u8> = "serial\nA1\n".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let marked = [b"\xFF\xFE\0\0".to_vec(), utf32.clone()].concat();
        // EBCDIC, as code page 037 has it.
        let ebcdic = b"\xA2\x85\x99\x89\x81\x93\x25\xD8\xC4\x60\xF0\xF0\xF4\xF1\xF7\xF1\xF3\x25".to_vec();
        for (bytes, why) in [
            (utf32, Some(NoText::Utf32)),
            (marked, Some(NoText::Utf32)),
            (ebcdic, Some(NoText::Foreign)),
            (vec![b'a', 1, 2, b'b', 3], Some(NoText::Binary)),
            ("größe, größer, ПРИВЕТ МИР".into(), None),
            (encoding_rs::WINDOWS_1252.encode("serial;größe\nA1;3").0.into_owned(), None),
        ] {
            assert_eq!(sniff(&bytes[..], u64::MAX).expect("reads").no_text, why, "{bytes:?}");
        }
    }

    #[test]
    fn the_first_line_that_is_not_utf8_is_told_and_characters_may_cross_pieces() {
        let sniffed = sniff(&b"a\nb\n\xE4\nc\n\xE4"[..], u64::MAX).expect("reads");
        assert_eq!((sniffed.not_utf8, sniffed.encoding), (Some(3), Encoding::Windows1252));
        let long = format!("{}ä\r\n", "x".repeat(PIECE_BYTES - 1)).repeat(2);
        assert_eq!(decoded(long.as_bytes()), (Encoding::Utf8, long.replace("\r\n", "\n")));
        let cut = format!("{}\r\n\r", "x".repeat(PIECE_BYTES - 1));
        assert_eq!(decoded(cut.as_bytes()).1, format!("{}\n\n", "x".repeat(PIECE_BYTES - 1)));
    }

    proptest! {
        #[test]
        fn whatever_comes_in_utf8_comes_out(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(0)], 0..300)) {
            let (_, text) = decoded(&bytes);
            prop_assert!(!text.contains('\r'));
            prop_assert!(text.is_empty() || text.ends_with('\n'));
        }
    }
}
