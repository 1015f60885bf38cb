//! Which columns and cells of a list may hold a secret: a key, a password, a connection string.
//!
//! Vendors' device lists carry keys beside the identifiers (`dev_eui … app_key`, `DeviceName,DeviceSecret`). A column counts
//! as secret by its name, a text by its look. Such a column stays out of journal, report and the owner's books, and the
//! text of such a cell is never repeated in a sentence. A false alarm costs a column in a report; a miss costs a key.

use std::borrow::Cow;

/// Names of secrets, without blanks, signs and a number at the end, in small letters: the whole name of a column.
const NAMES: [&str; 20] = [
    "key", "keys", "pin", "pins", "pass", "ki", "eki", "opc", "dak", "pop", "nwk", "cred", "jwt", "adm", "kic", "kid", "kik",
    "token", "salt", "dsk",
];
/// Words that make the name of a secret, wherever they stand in it.
const WORDS: [&str; 12] = ["psk", "pskd", "puk", "pwd", "pw", "otp", "mdp", "clé", "cle", "clef", "ltk", "irk"];
/// What the name of a column of secrets has in it.
const STEMS: [&str; 80] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwort",
    "kennwort",
    "geheim",
    "motdepasse",
    "contraseña",
    "contrasena",
    "senha",
    "wachtwoord",
    "hasło",
    "privatekey",
    "privkey",
    "primarykey",
    "secondarykey",
    "symmetrickey",
    "sharedkey",
    "presharedkey",
    "accesskey",
    "apikey",
    "appkey",
    "appskey",
    "nwkkey",
    "nwkskey",
    "sessionkey",
    "encryptionkey",
    "masterkey",
    "connectionstring",
    "connstring",
    "connstr",
    "verbindungszeichenfolge",
    "credential",
    "accesstoken",
    "sastoken",
    "bearer",
    "pincode",
    "installcode",
    "proofofpossession",
    "schlüssel",
    "schluessel",
    "clave",
    "chave",
    "chiave",
    "sleutel",
    "klucz",
    "nyckel",
    "lösenord",
    "adgangskode",
    "salasana",
    "heslo",
    "jelszó",
    "şifre",
    "wifipass",
    "wlanpass",
    "adminpass",
    "userpass",
    "loginpass",
    "webpass",
    "rootpass",
    "mqttpass",
    "defaultpass",
    "setupcode",
    "pairingcode",
    "activationcode",
    "unlockcode",
    "securitycode",
    "accesscode",
    "claimcode",
    "freigabecode",
    "密码",
    "密钥",
    "密碼",
    "金鑰",
    "秘密",
    "パスワード",
    "暗証",
    "пароль",
];
/// Ends of names of secrets.
const ENDS: [&str; 7] = ["key", "token", "pin", "pw", "pwd", "psk", "puk"];
/// What stands before `key` where it is no secret.
const PUBLIC: [&str; 11] =
    ["public", "product", "row", "partition", "sort", "foreign", "sequence", "natural", "business", "tur", "mon"];
/// What the name of a column has in it whose long hexadecimal or base64 values are no secrets.
const HARMLESS: [&str; 17] = [
    "serial",
    "uuid",
    "guid",
    "hash",
    "sha1",
    "sha256",
    "sha512",
    "md5",
    "digest",
    "checksum",
    "fingerprint",
    "thumbprint",
    "crc",
    "publickey",
    "certificate",
    "iccid",
    "url",
];

/// Fewest characters of a text that is taken for a key by its look.
const KEY_CHARS_MIN: usize = 16;
/// Fewest characters without a dash of a text that is taken for a key since only chance makes such texts.
const RANDOM_CHARS_MIN: usize = 12;
/// Fewest characters of the code on a Matter device's label.
const MATTER_CHARS_MIN: usize = 22;
/// What stands for a text that is not repeated.
pub(super) const MASK: &str = "***";

/// True if a column of that name holds secrets: `DeviceSecret`, `app_key`, `Primary Key`, `PIN1`, `PSK (hex)`.
pub(super) fn is_name(name: &str) -> bool {
    // A unit and a number say nothing of what it is.
    let name = name.split(['(', '[']).find(|part| !part.trim().is_empty()).unwrap_or_default();
    let name = name.trim_end_matches(|c: char| !c.is_alphabetic());
    let lower = name.to_lowercase();
    let word: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    if NAMES.contains(&word.as_str())
        || STEMS.iter().any(|stem| word.contains(stem))
        || lower.split(|c: char| !c.is_alphanumeric()).any(|part| WORDS.contains(&part))
    {
        return true;
    }
    let is_public = || word.strip_suffix("key").is_some_and(|before| PUBLIC.iter().any(|public| before.ends_with(public)));
    !is_public()
        && ENDS.iter().any(|end| {
            // `spin` is no pin: the end is a word of its own.
            let own = |rest: &str| rest.ends_with(|c: char| !c.is_alphanumeric());
            let capital = || {
                name.len() > end.len() && name.is_char_boundary(name.len() - end.len()) && {
                    let tail = &name[name.len() - end.len()..];
                    tail.starts_with(char::is_uppercase) && !name[..name.len() - end.len()].ends_with(char::is_uppercase)
                }
            };
            *end == "key" && word.ends_with("key")
                || lower.strip_suffix(end).is_some_and(own)
                || (lower.ends_with(end) && capital())
        })
}

/// True if a column of that name holds long random values that are no secrets, as UUIDs and fingerprints are.
pub(super) fn is_harmless_name(name: &str) -> bool {
    let word: String = name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    HARMLESS.iter().any(|harmless| word.contains(harmless)) || word.ends_with("id")
}

/// True if a text looks like a key or holds one: base64 or hexadecimal of a key's length, a mixture of letters and digits as
/// only chance makes it, a connection string, a token, a PEM block.
pub(super) fn is_look(text: &str) -> bool {
    holds_marker(text) || is_parted_key(text) || text.split(is_between).any(is_key)
}

/// The text with each part that looks like a key replaced.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    if holds_marker(text) || is_parted_key(text) {
        return Cow::Borrowed(MASK);
    }
    if !text.split(is_between).any(is_key) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for part in text.split_inclusive(is_between) {
        let word = part.trim_end_matches(is_between);
        match is_key(word) {
            true => shown.extend([MASK, &part[word.len()..]]),
            false => shown.push_str(part),
        }
    }
    Cow::Owned(shown)
}

/// What parts a key from other text in a cell or in a row that could not be read.
fn is_between(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '|' | '"' | '\'' | '`' | '<' | '>')
}

/// True for a text with what only texts with a secret in them hold, whatever its column is called.
pub(super) fn holds_marker(text: &str) -> bool {
    // Nearly every cell has none of these signs, and costs no more than this look.
    if !text.bytes().any(|byte| matches!(byte, b'=' | b':' | b'-' | b'.')) {
        return false;
    }
    const MARKERS: [&str; 22] = [
        "sharedaccesskey=",
        "sharedaccesssignature",
        "accountkey=",
        "accesskey=",
        "password=",
        "password:",
        "passphrase=",
        "pass=",
        "pwd=",
        "psk=",
        "psk:",
        "secret=",
        "secret:",
        "token=",
        "apikey=",
        "api_key=",
        "private key-----",
        "wifi:",
        "&sig=",
        "?sig=",
        "otpauth://",
        "lpa:1$",
    ];
    let lower = text.to_lowercase();
    let address = lower.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    MARKERS.iter().any(|marker| lower.contains(marker))
        || (text.starts_with("eyJ") && text.matches('.').count() == 2)
        // The code on a Matter device's label holds its passcode.
        || (text.starts_with("MT:") && text.len() >= MATTER_CHARS_MIN)
        // `https://user:password@host`
        || address.and_then(|address| address.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
}

/// Hexadecimal of a key in parts of one length: `8B 6B 2F …`, `0x8B, 0x6B, …`.
fn is_parted_key(text: &str) -> bool {
    let is_sign = |c: char| c.is_whitespace() || matches!(c, ',' | ':' | '-' | '{' | '}' | '[' | ']');
    if text.len() <= 2 * KEY_CHARS_MIN || !text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, 'x' | 'X') || is_sign(c)) {
        return false;
    }
    let parts = || {
        let parts = text.split(is_sign).filter(|part| !part.is_empty());
        parts.map(|part| part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")).unwrap_or(part))
    };
    let length = parts().next().map_or(0, str::len);
    parts().count() > 1 && parts().all(|part| part.len() == length) && is_hex_key(&parts().collect::<String>())
}

/// True for one word that is a key by its look.
fn is_key(word: &str) -> bool {
    let bare = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
    bare.len() >= KEY_CHARS_MIN && bare.is_ascii() && (is_hex_key(bare) || is_base64_key(bare) || is_random(bare))
}

/// Hexadecimal of 16, 24, 32, 48 or 64 bytes, also with a sign between the bytes. Digits alone are a number.
fn is_hex_key(word: &str) -> bool {
    let separator = word.chars().find(|c| matches!(c, ':' | '-'));
    // `8-4-4-4-12` is a UUID, and a MAC has six bytes.
    let pairs = |separator: char| word.split(separator).all(|pair| pair.len() == 2);
    let digits: String = match separator {
        Some(separator) if pairs(separator) => word.chars().filter(|c| *c != separator).collect(),
        Some(_) => return false,
        None => word.to_owned(),
    };
    matches!(digits.len(), 32 | 48 | 64 | 96 | 128)
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && digits.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Base64 of 16 to 64 bytes with its padding.
fn is_base64_key(word: &str) -> bool {
    let body = word.trim_end_matches('=');
    let padding = word.len() - body.len();
    (1..=2).contains(&padding)
        && word.len().is_multiple_of(4)
        && (22..=86).contains(&body.len())
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_'))
        && classes(body) >= 2
}

/// Small letters, capitals and digits in an order that only chance makes: the class changes at every third character or more
/// often, not counting a small letter after a capital, as words begin.
fn is_random(word: &str) -> bool {
    let sound = word
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'!' | b'#' | b'$'));
    let bytes = word.as_bytes();
    // Words and numbers with signs between them are how people make identifiers.
    let longest = word.split(['-', '_']).map(str::len).max().unwrap_or(0);
    let changes = bytes
        .windows(2)
        .filter(|pair| !matches!((class(pair[0]), class(pair[1])), (1, 0)) && class(pair[0]) != class(pair[1]))
        .count();
    sound && longest >= RANDOM_CHARS_MIN && classes(word) == 3 && changes * 3 >= word.len()
}

/// How many of small letters, capitals and digits a text has.
fn classes(text: &str) -> usize {
    [u8::is_ascii_lowercase as fn(&u8) -> bool, u8::is_ascii_uppercase, u8::is_ascii_digit]
        .iter()
        .filter(|is_one| text.bytes().any(|byte| is_one(&byte)))
        .count()
}

fn class(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_secrets_are_known_by_their_names() {
        for name in [
            "app_key",
            "AppKey",
            "nwk_key",
            "app_s_key",
            "DeviceSecret",
            "device secret",
            "primaryKey",
            "Primary Key",
            "connectionString",
            "Connection String",
            "psk",
            "WPA-PSK",
            "PSK",
            "pin",
            "PIN",
            "SIM PIN",
            "simPin",
            "Password",
            "wifi_password",
            "Passwort",
            "Kennwort",
            "密码",
            "パスワード",
            "api token",
            "Ki",
            "OPc",
            "key",
            "Access-Token",
            "privateKey",
            "Install Code",
            "Mot de passe",
            "wifi pwd",
            "master_key",
            "ProductSecret",
            "Growatt password",
            "PIN1",
            "PUK 2",
            "ADM1",
            "Browser PIN",
            "PSK (hex)",
            "Key[0]",
            "WiFi Pass",
            "Admin PW",
            "AdminPW",
            "wifiPwd",
            "WLAN-Schluessel",
            "Clé WiFi",
            "Clave",
            "Setup Code",
        ] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "serial",
            "ProductKey",
            "Public Key",
            "DeviceName",
            "dev_eui",
            "join_eui",
            "spin",
            "Spin",
            "pinout",
            "Lot",
            "colour",
            "key_id",
            "Monkey",
            "row key",
            "pint",
            "Keyboard",
            "MAC",
            "token ring",
            "QC Pass",
            "Column1",
            "12",
            "(hex)",
            "",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn keys_are_known_by_their_look_and_serials_are_not() {
        for text in [
            "8B6B2F7A5C0E4D3A9F1C7E2B4D6A8C0E",
            "0x8b6b2f7a5c0e4d3a9f1c7e2b4d6a8c0e",
            "8b:6b:2f:7a:5c:0e:4d:3a:9f:1c:7e:2b:4d:6a:8c:0e",
            "55tLV4FGYm+GG3Np2n+UTRwRdj1fWeqJr2MaDlSXUsA=",
            "AAECAwQFBgcICQoLDA0ODw==",
            "Piwto064haIA59x3Z0",
            "HostName=a.azure-devices.net;DeviceId=x;SharedAccessKey=AAEC",
            "-----BEGIN EC PRIVATE KEY-----",
            "WIFI:T:WPA;S:net;P:secret;;",
            "key: 8B6B2F7A5C0E4D3A9F1C7E2B4D6A8C0E",
            "8B 6B 2F 7A 5C 0E 4D 3A 9F 1C 7E 2B 4D 6A 8C 0E",
            "{0x8b, 0x6b, 0x2f, 0x7a, 0x5c, 0x0e, 0x4d, 0x3a, 0x9f, 0x1c, 0x7e, 0x2b, 0x4d, 0x6a, 0x8c, 0x0e}",
            "rtsp://admin:hunter2@10.0.0.7/stream",
            "https://x.example/d?token=abc",
            "ssid=net psk=hunter2",
            "MT:Y.K9042C00KA0648G00",
        ] {
            assert!(is_look(text), "{text}");
        }
        for text in [
            "QD-0041713",
            "d8905151",
            "a1TGu0u",
            "490154203237518",
            "AA:BB:CC:DD:EE:FF",
            "70B3D57ED005A4F1",
            "550e8400-e29b-41d4-a716-446655440000",
            "01095212345678992 1A17",
            "SN2026W47-000123-Rev2",
            "BoardTypeModelXYZ2024",
            "12345678901234567890123456789012",
            "https://example.com/path/to/page",
            "https://example.com:8443/a@b",
            "-----BEGIN CERTIFICATE-----",
            "AA BB CC DD EE FF",
            "1200 1201 1202 1203 1204 1205 1206 1207",
            "red",
            "",
            "WBA3A5C50CF256985",
        ] {
            assert!(!is_look(text), "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_key_is_not_repeated() {
        assert_eq!(masked("QD-1,8B6B2F7A5C0E4D3A9F1C7E2B4D6A8C0E,red"), "QD-1,***,red");
        assert_eq!(masked("HostName=a;SharedAccessKey=AAEC"), "***");
        assert!(matches!(masked("QD-0041713 red"), Cow::Borrowed("QD-0041713 red")));
    }
}
