//! Moments as RFC 3339 writes them, read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;

/// Reads `2026-08-19T07:12:01Z`, also with a fraction and with an offset; `None` for what is none, or before 1970.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, offset) = (&time[..zone], offset(&time[zone..])?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let possible = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && digits;
    let seconds = days(year, month, day) * DAY + hour * 3_600 + minute * 60 + second - offset;
    let seconds = u64::try_from(seconds).ok().filter(|_| possible)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Seconds east of Greenwich.
fn offset(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return (text.len() == 1).then_some(0),
    };
    let [hours, minutes] = numbers(&text[1..], ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days since 1970: Howard Hinnant's `days_from_civil`, whose years begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::human;

    #[test]
    fn moments_are_read_as_they_are_written() {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2026-08-19T07:12:01Z"] {
            assert_eq!(human::moment(parse(text).unwrap()), text);
        }
        for text in ["2026-08-19T09:12:01+02:00", "2026-08-19t05:42:01.25-01:30"] {
            assert_eq!(human::moment(parse(text).unwrap()), "2026-08-19T07:12:01Z", "{text}");
        }
        for text in [
            "",
            "now",
            "2026-08-19",
            "2026-13-01T00:00:00Z",
            "1969-01-01T00:00:00Z",
            "2026-08-19T07:12:01",
            "2026-08-19T07:12Z",
            "2026-8-19T07:12:01Z",
            "2026-08-19T07:12:01.Z",
            "2026-08-19T+7:12:01Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
