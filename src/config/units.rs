//! Human durations (`500ms`, `30s`, `5m`) and sizes (`64kB`, `4MB`), read and written. What zero means is each key's affair.

use std::time::Duration;

use thiserror::Error;

/// The longest duration that a setting may hold: far above any use, far below what overflows when
/// added to a clock.
pub const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The shortest duration other than zero: timers here tick in milliseconds.
pub const SHORTEST: Duration = Duration::from_millis(1);

/// The unit of a number written without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareUnit {
    /// As nearly all of PgBouncer's settings.
    Seconds,
    /// As PgBouncer's `tcp_user_timeout`, after the socket option.
    Milliseconds,
}

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnitError {
    /// It does not start with a number.
    #[error("expected a number with a unit")]
    NoNumber,
    /// The number is followed by something else than a duration's unit.
    #[error("unknown unit; the units are ms, s, m, h, d")]
    DurationUnit,
    /// The number is followed by something else than a size's unit.
    #[error("unknown unit; the units are B, kB, MB, GB, TB")]
    SizeUnit,
    /// Below [`SHORTEST`] but not zero.
    #[error("shorter than 1ms")]
    TooShort,
    /// Above [`LONGEST`].
    #[error("longer than 3650d")]
    TooLong,
    /// More bytes than 64 bits count.
    #[error("too large")]
    TooLarge,
}

/// Reads a duration: a decimal number, then `ms`, `s`, `m` (or `min`), `h` or `d`, or none for `bare`.
/// It is rounded to whole milliseconds.
pub fn duration(text: &str, bare: BareUnit) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let millis_per_unit: f64 = match (unit, bare) {
        ("", BareUnit::Seconds) | ("s", _) => 1e3,
        ("", BareUnit::Milliseconds) | ("ms", _) => 1.0,
        ("m" | "min", _) => 60e3,
        ("h", _) => 3600e3,
        ("d", _) => 86_400e3,
        _ => return Err(UnitError::DurationUnit),
    };
    from_millis(number * millis_per_unit)
}

/// A duration from a number that had no unit, such as a TOML integer or float.
pub fn bare_duration(number: f64, bare: BareUnit) -> Result<Duration, UnitError> {
    if !number.is_finite() || number < 0.0 {
        return Err(UnitError::NoNumber);
    }
    match bare {
        BareUnit::Seconds => from_millis(number * 1e3),
        BareUnit::Milliseconds => from_millis(number),
    }
}

/// Writes a duration in the largest unit that keeps it whole: `2m`, `90s`, `1500ms`, `0`.
pub fn show_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let millis = duration.as_millis();
    if millis == 0 {
        return "0".to_owned();
    }
    let (size, unit) = UNITS
        .into_iter()
        .find(|(size, _)| millis.is_multiple_of(*size))
        .expect("every whole number is divided by the last unit, 1");
    format!("{}{unit}", millis / size)
}

/// Reads a size in bytes: a decimal number, then `B`, `kB`, `MB`, `GB` or `TB` in either case, or none
/// for bytes. As in Postgres, a kB is 1024 bytes.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "kb" => 1,
        "mb" => 2,
        "gb" => 3,
        "tb" => 4,
        _ => return Err(UnitError::SizeUnit),
    };
    let bytes = number * 1024_f64.powi(power);
    // 2^63 is exact in f64; above it the cast would no longer be.
    if bytes > 9.2e18 { Err(UnitError::TooLarge) } else { Ok(bytes as u64) }
}

/// A size in the largest unit that shows it exactly.
pub fn show_size(bytes: u64) -> String {
    let units: [(u64, _); 4] = [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    let exact = units.iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    exact.map_or_else(|| format!("{bytes}B"), |(size, unit)| format!("{}{unit}", bytes / size))
}

fn from_millis(millis: f64) -> Result<Duration, UnitError> {
    if millis > LONGEST.as_millis() as f64 {
        return Err(UnitError::TooLong);
    }
    if millis > 0.0 && millis < SHORTEST.as_millis() as f64 {
        return Err(UnitError::TooShort);
    }
    // Rounded, since 0.29 * 1000 is a hair below 290.
    Ok(Duration::from_millis(millis.round() as u64))
}

/// The number at the start and the unit after it.
fn split(text: &str) -> Result<(f64, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| UnitError::NoNumber)?;
    if number.is_finite() { Ok((number, unit.trim_start())) } else { Err(UnitError::NoNumber) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Result<Duration, UnitError> {
        duration(text, BareUnit::Seconds)
    }

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("5min", 300_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("0", 0),
            ("15", 15_000),
            ("0.5", 500),
            ("0.29", 290),
            ("1.5h", 5_400_000),
            (" 2 s ", 2000),
        ] {
            assert_eq!(seconds(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("15", BareUnit::Milliseconds), Ok(Duration::from_millis(15)));
        assert_eq!(bare_duration(0.25, BareUnit::Seconds), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_reason() {
        assert_eq!(seconds(""), Err(UnitError::NoNumber));
        assert_eq!(seconds("fast"), Err(UnitError::NoNumber));
        assert_eq!(seconds("-5s"), Err(UnitError::NoNumber));
        assert_eq!(seconds("1.2.3s"), Err(UnitError::NoNumber));
        assert_eq!(seconds("5 parsecs"), Err(UnitError::DurationUnit));
        assert_eq!(seconds("1h30m"), Err(UnitError::DurationUnit));
        assert_eq!(seconds("0.1ms"), Err(UnitError::TooShort));
        assert_eq!(seconds("3651d"), Err(UnitError::TooLong));
        assert_eq!(bare_duration(-1.0, BareUnit::Seconds), Err(UnitError::NoNumber));
        assert_eq!(bare_duration(f64::NAN, BareUnit::Seconds), Err(UnitError::NoNumber));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("64kB", 65_536), ("4MB", 4 << 20), ("1.5 gb", 3 << 29)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["0B", "512B", "64kB", "4MB", "1536MB", "2TB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        assert_eq!(size("MB"), Err(UnitError::NoNumber));
        assert_eq!(size("4 pages"), Err(UnitError::SizeUnit));
        assert_eq!(size("99999999TB"), Err(UnitError::TooLarge));
    }

    proptest! {
        #[test]
        fn a_shown_duration_reads_back(millis in 0..=LONGEST.as_millis() as u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(seconds(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = (seconds(&text), size(&text));
        }
    }
}
