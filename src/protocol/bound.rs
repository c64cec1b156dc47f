//! The values that a Bind carries, read from as much of it as is there, and as text: binary ones of common types as
//! Postgres would write them (the `*send` functions of src/backend/utils/adt).

use std::fmt::Write as _;

/// Values of one Bind that are read: Postgres takes no more.
const MOST_VALUES: usize = 65_535;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Days from 1970, where calendars begin here, to 2000, where Postgres' do.
const FROM_1970: i64 = 10_957;

/// A binary value has no text that is longer than so many times its bytes, and a few more: a number of 16,000 zeros
/// takes eight.
const MOST_LONGER: usize = 32;
const MOST_FEW: usize = 64;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As text.
    Text,
    /// As its type writes itself.
    Binary,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// How it is written.
    pub form: Form,
    /// Its bytes; none is NULL.
    pub bytes: Option<&'a [u8]>,
}

/// Values in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    /// Those that are there.
    pub values: Vec<Value<'a>>,
    /// How many were sent.
    pub sent: usize,
    /// Whether a part of the last one is missing.
    pub is_cut: bool,
}

impl<'a> Values<'a> {
    /// Reads what stands in a Bind behind its names: formats, values.
    ///
    /// `None`: not even their number is there.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (count, rest) = number(body)?;
        let (formats, rest) = rest.split_at_checked(2 * count)?;
        let (sent, mut rest) = number(rest)?;
        let form = |at: usize| {
            let at = if count == 1 { 0 } else { 2 * at };
            if formats.get(at..at + 2) == Some(&[0, 1]) { Form::Binary } else { Form::Text }
        };
        let mut read = Self { sent, ..Self::default() };
        while read.values.len() < sent.min(MOST_VALUES) {
            let form = form(read.values.len());
            let Some((length, bytes)) = rest.split_first_chunk() else { break };
            // NULL has the length -1.
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                read.values.push(Value { form, bytes: None });
                rest = bytes;
                continue;
            };
            let there = length.min(bytes.len());
            let (value, behind) = bytes.split_at(there);
            read.values.push(Value { form, bytes: Some(value) });
            rest = behind;
            read.is_cut = there < length;
            if read.is_cut {
                break;
            }
        }
        Some(read)
    }

    /// Are all of them there?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.is_cut && self.values.len() == self.sent
    }
}

/// The types that a Parse gives its parameters, behind the NUL of its text.
#[must_use]
pub fn types(behind_text: &[u8]) -> Vec<u32> {
    let Some((count, rest)) = number(behind_text) else { return Vec::new() };
    rest.chunks_exact(4).take(count).filter_map(unsigned).collect()
}

impl Value<'_> {
    /// It as Postgres would write it; `None`: NULL, text that is not UTF-8, or a binary value whose type (an OID, 0 if
    /// unknown) is not known here, or that would be out of proportion.
    #[must_use]
    pub fn text(&self, kind: u32) -> Option<String> {
        let bytes = self.bytes?;
        match self.form {
            Form::Text => utf8(bytes),
            Form::Binary => match kind {
                1000 | 1001 | 1005 | 1007 | 1009 | 1014 | 1015 | 1016 | 1021 | 1022 | 1028
                | 1115 | 1182 | 1185 | 1231 | 2951 => array(bytes),
                _ => scalar(kind, bytes),
            },
        }
    }

    /// The same for people: whatever has no text is shown all the same; `None` is NULL.
    #[must_use]
    pub fn shown(&self, kind: u32) -> Option<String> {
        let bytes = self.bytes?;
        Some(self.text(kind).unwrap_or_else(|| match self.form {
            Form::Text => String::from_utf8_lossy(bytes).into_owned(),
            Form::Binary => hexadecimal(bytes),
        }))
    }
}

/// Bytes as `bytea` writes them.
fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = "\\x".to_owned();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn utf8(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// What is no array, unless its text is out of proportion.
fn scalar(kind: u32, bytes: &[u8]) -> Option<String> {
    binary(kind, bytes).filter(|text| text.len() <= MOST_FEW + bytes.len() * MOST_LONGER)
}

fn binary(kind: u32, bytes: &[u8]) -> Option<String> {
    match kind {
        16 => match bytes {
            [0] => Some("f".to_owned()),
            [1] => Some("t".to_owned()),
            _ => None,
        },
        17 => Some(hexadecimal(bytes)),
        // name, text, json, xml, bpchar, varchar
        19 | 25 | 114 | 142 | 1042 | 1043 => utf8(bytes),
        21 => Some(i16::from_be_bytes(bytes.try_into().ok()?).to_string()),
        23 => Some(i32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        20 => Some(i64::from_be_bytes(bytes.try_into().ok()?).to_string()),
        26 => unsigned(bytes).map(|oid| oid.to_string()),
        700 => Some(special(f32::from_be_bytes(bytes.try_into().ok()?).to_string())),
        701 => Some(special(f64::from_be_bytes(bytes.try_into().ok()?).to_string())),
        1700 => numeric(bytes),
        1082 => date(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        1114 => moment(bytes, ""),
        1184 => moment(bytes, "+00"),
        2950 => uuid(bytes),
        // Its first byte is a version.
        3802 => {
            bytes.split_first().filter(|(version, _)| **version == 1).and_then(|(_, b)| utf8(b))
        }
        _ => None,
    }
}

/// Rust's words for what is no number, in Postgres' spelling.
fn special(text: String) -> String {
    match &*text {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        _ => text,
    }
}

fn date(days: i64) -> Option<String> {
    let (year, month, day) = civil(days.checked_add(FROM_1970)?);
    // Others are BC, or written with more digits.
    (1..=9_999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

fn moment(bytes: &[u8], zone: &str) -> Option<String> {
    let micros = i64::from_be_bytes(bytes.try_into().ok()?);
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let date = date(days)?;
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    Some(format!("{date} {hours:02}:{minutes:02}:{seconds:02}.{fraction:06}{zone}"))
}

/// Year, month and day of a day since 1970: Howard Hinnant's `civil_from_days`, whose years begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// Digits to the base of 10,000: how many there are, the first one's weight, a sign, decimals that are shown, and them.
fn numeric(bytes: &[u8]) -> Option<String> {
    let (count, rest) = number(bytes)?;
    let (weight, rest) = number(rest)?;
    let (sign, rest) = number(rest)?;
    let (scale, digits) = number(rest)?;
    let weight = i64::from(weight as u16 as i16);
    let mut text = match sign {
        0 => String::new(),
        0x4000 => "-".to_owned(),
        0xC000 => return Some("NaN".to_owned()),
        _ => return None,
    };
    if digits.len() != 2 * count || scale > 16_383 || weight.unsigned_abs() > 16_383 / 4 {
        return None;
    }
    let digit = |place: i64| {
        let at = usize::try_from(weight - place).ok()?;
        digits.chunks_exact(2).nth(at).and_then(number).map(|(digit, _)| digit)
    };
    text.push_str(&digit(weight.max(0)).unwrap_or(0).to_string());
    for place in (0..weight).rev() {
        let _ = write!(text, "{:04}", digit(place).unwrap_or(0));
    }
    if scale > 0 {
        let mut decimals = String::new();
        for place in 1..=(scale.div_ceil(4) as i64) {
            let _ = write!(decimals, "{:04}", digit(-place).unwrap_or(0));
        }
        text.push('.');
        text.push_str(decimals.get(..scale)?);
    }
    Some(text)
}

/// An array of one dimension: dimensions, has NULLs, the elements' type, length and lower bound, elements.
fn array(bytes: &[u8]) -> Option<String> {
    let dimensions = unsigned(bytes.get(..4)?)?;
    let kind = unsigned(bytes.get(8..12)?)?;
    if dimensions == 0 {
        return Some("{}".to_owned());
    }
    let count = usize::try_from(unsigned(bytes.get(12..16)?)?).ok()?;
    let mut rest = bytes.get(20..)?;
    let mut text = "{".to_owned();
    for at in 0..count {
        let (length, behind) = rest.split_first_chunk()?;
        rest = behind;
        if at > 0 {
            text.push(',');
        }
        match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => text.push_str("NULL"),
            Ok(length) => {
                let (element, behind) = rest.split_at_checked(length)?;
                rest = behind;
                // Not an array, which would nest as deep as a client likes.
                let element = scalar(kind, element)?.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = write!(text, "\"{element}\"");
            }
        }
    }
    text.push('}');
    (dimensions == 1 && rest.is_empty()).then_some(text)
}

/// The unsigned number of two bytes that a text begins with, and what is behind it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*number).into(), rest))
}

fn unsigned(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
#[path = "bound_tests.rs"]
mod tests;
