//! The bytes of a file as text, or what they are instead.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// A million classes are 7 MB at most, and 64 bytes a row are left for a table of them.
const MOST_BYTES: u64 = 64 << 20;

/// How files begin that people take for text, and how to get text out of them.
const OTHERS: [(&[u8], &str); 12] = [
    (b"\x93NUMPY", "a NumPy array (.npy): write text with numpy.savetxt(FILE, counts, fmt='%d')"),
    (b"PK\x03\x04", "a ZIP archive, as .npz, .pt and .xlsx are: write the counts as text"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save it as CSV"),
    (b"\x1f\x8b", "a gzip file: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it"),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
    (b"PAR1", "a Parquet file: write the counts as CSV"),
    (b"{\\rtf", "rich text: save it as plain text"),
    (b"%PDF", "a PDF: write the counts as text"),
];
const PICKLE: &str = "a Python pickle: write text with json.dump(list(counts), FILE)";

/// What is in a file, in a pipe or, for `-`, in standard input.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let read = |reader: &mut dyn Read| {
        let mut bytes = Vec::new();
        reader.take(MOST_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = if path == Path::new("-") {
        read(&mut io::stdin().lock())
    } else if path.is_dir() {
        return Err("this is a directory, a file is needed".into());
    } else {
        File::open(path).and_then(|mut file| read(&mut file))
    };
    let bytes = bytes.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("larger than {} MiB: is it a list of class counts?", MOST_BYTES >> 20));
    }
    Ok(bytes)
}

/// The text, from UTF-8 or from UTF-16 with a byte-order mark, with line ends `\n`.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, String> {
    if let Some((_, other)) = OTHERS.iter().find(|(beginning, _)| bytes.starts_with(beginning)) {
        return Err(format!("this looks like {other}"));
    }
    let text = match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => String::from_utf8(bytes).map_err(|error| not_utf8(error.as_bytes(), error.utf8_error().valid_up_to()))?,
    };
    if let Some(at) = text.find('\0') {
        if is_wide(text.as_bytes()) {
            return Err("this looks like UTF-16 without a byte-order mark: save it as UTF-8".into());
        }
        let line = line_at(&text.as_bytes()[..at]);
        return Err(format!("line {line} has a NUL character: this looks like binary data, text is needed"));
    }
    // Some editors begin a file with a byte-order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim_ascii_start().starts_with('<') {
        return Err("this looks like HTML or XML: the counts alone are needed, as text".into());
    }
    if text.trim().is_empty() {
        return Err("the file is empty, at least one class is needed".into());
    }
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() })
}

/// Whether every other byte of the beginning is zero, and no more.
fn is_wide(bytes: &[u8]) -> bool {
    let (pairs, _) = bytes[..bytes.len().min(16)].as_chunks();
    let is_wide = |zero: usize| pairs.iter().all(|pair: &[u8; 2]| pair[zero] == 0 && pair[1 - zero] != 0);
    !pairs.is_empty() && (is_wide(0) || is_wide(1))
}

fn utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> Result<String, String> {
    let (units, rest) = bytes.as_chunks();
    let text = String::from_utf16(&units.iter().map(|&pair| unit(pair)).collect::<Vec<_>>());
    match text {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => Err("this begins as UTF-16 and is not valid UTF-16: is the file whole?".into()),
    }
}

fn not_utf8(bytes: &[u8], valid: usize) -> String {
    let why = match bytes.get(valid) {
        // What spreadsheets put between thousands.
        Some(0xa0) => " (a no-break space in Latin-1 and Windows-1252: is it a separator between thousands?)",
        _ => "",
    };
    let (line, byte) = (line_at(&bytes[..valid]), bytes.get(valid).copied().unwrap_or_default());
    format!("line {line} has the byte 0x{byte:02X}, which is not UTF-8{why}: save the file as UTF-8")
}

/// The line, from 1, that follows these bytes.
fn line_at(before: &[u8]) -> usize {
    // A line ends with \n, \r\n or \r.
    let ends = before
        .iter()
        .enumerate()
        .filter(|&(i, &byte)| byte == b'\n' || (byte == b'\r' && before.get(i + 1) != Some(&b'\n')));
    ends.count() + 1
}
