//! From bytes to text. UTF-8 is the rule of the SdI; byte order marks, windows-1252 and files without a
//! declaration are what arrives (RULES.md section 1). The bytes themselves are never altered.

use std::borrow::Cow;

use super::XmlError;

/// The text of a file and how it was found.
#[derive(Clone, Debug)]
pub struct Decoded<'b> {
    /// The text, without byte order mark; borrowed when the file is UTF-8.
    pub text: Cow<'b, str>,
    /// The encoding that gave the text.
    pub encoding: Encoding,
    /// True when the bytes contradict what the file declares (or the UTF-8 it implies), so that the
    /// text is a reading aid and the file is not well-formed XML.
    pub guessed: bool,
}

/// Encodings met in the wild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, declared or implied.
    Utf8,
    /// UTF-8 behind a byte order mark.
    Utf8Bom,
    /// UTF-16 of either byte order behind a mark.
    Utf16,
    /// ISO-8859-1, of which US-ASCII is a part.
    Latin1,
    /// ISO-8859-15.
    Latin9,
    /// windows-1252.
    Windows1252,
}

/// Turns bytes into text by byte order mark, declaration, or UTF-8; falls back to windows-1252.
///
/// # Errors
/// [`XmlError::Encoding`] when the declaration names an encoding that no invoice uses.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, XmlError> {
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => Ok(utf8(rest, Encoding::Utf8Bom)),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => match declared(bytes) {
            None => Ok(utf8(bytes, Encoding::Utf8)),
            Some(name) => match name.to_ascii_lowercase().as_str() {
                "utf-8" | "utf8" => Ok(utf8(bytes, Encoding::Utf8)),
                "windows-1252" | "cp1252" => Ok(table(bytes, Encoding::Windows1252)),
                "iso-8859-1" | "latin1" | "us-ascii" | "ascii" => {
                    Ok(table(bytes, Encoding::Latin1))
                }
                "iso-8859-15" => Ok(table(bytes, Encoding::Latin9)),
                _ => Err(XmlError::Encoding { declared: name.chars().take(40).collect() }),
            },
        },
    }
}

fn utf8(bytes: &[u8], encoding: Encoding) -> Decoded<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Decoded { text: Cow::Borrowed(text), encoding, guessed: false },
        Err(_) => Decoded { guessed: true, ..table(bytes, Encoding::Windows1252) },
    }
}

fn utf16(bytes: &[u8], read: fn([u8; 2]) -> u16) -> Result<Decoded<'static>, XmlError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| read(*pair));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    match (text, rest.is_empty()) {
        (Ok(text), true) => {
            Ok(Decoded { text: Cow::Owned(text), encoding: Encoding::Utf16, guessed: false })
        }
        _ => Err(XmlError::Encoding { declared: "UTF-16".to_owned() }),
    }
}

fn table(bytes: &[u8], encoding: Encoding) -> Decoded<'_> {
    if bytes.is_ascii()
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Decoded { text: Cow::Borrowed(text), encoding, guessed: false };
    }
    let text = bytes.iter().map(|&byte| character(byte, encoding)).collect::<String>();
    Decoded { text: Cow::Owned(text), encoding, guessed: false }
}

fn character(byte: u8, encoding: Encoding) -> char {
    match (encoding, byte) {
        (Encoding::Windows1252, 0x80..=0x9F) => WINDOWS_1252[usize::from(byte - 0x80)],
        (Encoding::Latin9, 0xA4) => '€',
        (Encoding::Latin9, 0xA6) => 'Š',
        (Encoding::Latin9, 0xA8) => 'š',
        (Encoding::Latin9, 0xB4) => 'Ž',
        (Encoding::Latin9, 0xB8) => 'ž',
        (Encoding::Latin9, 0xBC) => 'Œ',
        (Encoding::Latin9, 0xBD) => 'œ',
        (Encoding::Latin9, 0xBE) => 'Ÿ',
        _ => char::from(byte),
    }
}

/// windows-1252 from 0x80 to 0x9F (Unicode Consortium, CP1252.TXT); five places are undefined there
/// and read as the control they would be in ISO-8859-1.
#[rustfmt::skip]
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The encoding named by the XML declaration, looked for in the first bytes only.
fn declared(bytes: &[u8]) -> Option<&str> {
    let head = &bytes[..bytes.len().min(200)];
    let head = head.strip_prefix(b"<?xml")?;
    let end = head.iter().position(|&byte| byte == b'>')?;
    let head = std::str::from_utf8(&head[..end]).ok()?;
    let (_, value) = head.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split_once(quote).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_wild_become_text() {
        let check = |bytes: &[u8], text: &str, encoding, guessed| {
            let decoded = decode(bytes).unwrap();
            assert_eq!(
                (&*decoded.text, decoded.encoding, decoded.guessed),
                (text, encoding, guessed)
            );
        };
        check("<a>però</a>".as_bytes(), "<a>però</a>", Encoding::Utf8, false);
        check(b"\xEF\xBB\xBF<a/>", "<a/>", Encoding::Utf8Bom, false);
        check(b"<a>per\xF2 \x80</a>", "<a>però €</a>", Encoding::Windows1252, true);
        check(b"\xFF\xFE<\0a\0/\0>\0", "<a/>", Encoding::Utf16, false);
        let declared = b"<?xml version='1.0' encoding='windows-1252'?><a>\x80</a>";
        let text = "<?xml version='1.0' encoding='windows-1252'?><a>€</a>";
        check(declared, text, Encoding::Windows1252, false);
        assert!(decode(b"<?xml version='1.0' encoding=\"EBCDIC\"?><a/>").is_err());
        assert!(decode(b"\xFF\xFE<").is_err());
    }
}
