//! Numbers as people read them: short, with their unit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A time that was measured, given in milliseconds: `0`, `80µs`, `6.1ms`, `42ms`, `1.2s`, `3m05s`.
pub(super) fn millis(millis: f64) -> String {
    match millis {
        m if m <= 0.0 => "0".to_owned(),
        m if m < 0.9995 => format!("{:.0}µs", m * 1_000.0),
        m if m < 9.95 => format!("{m:.1}ms"),
        m if m < 999.5 => format!("{m:.0}ms"),
        m if m < 99_950.0 => format!("{:.1}s", m / 1_000.0),
        m => span(Duration::from_secs_f64(m / 1_000.0)),
    }
}

/// How long something has lasted: `12s`, `3m05s`, `2h07m`, `3d04h`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        s if s < MINUTE => format!("{s}s"),
        s if s < HOUR => format!("{}m{:02}s", s / MINUTE, s % MINUTE),
        s if s < DAY => format!("{}h{:02}m", s / HOUR, s % HOUR / MINUTE),
        s => format!("{}d{:02}h", s / DAY, s % DAY / HOUR),
    }
}

/// A moment to the second, in UTC, as RFC 3339 has it: `2026-08-19T07:12:01Z`.
pub(super) fn moment(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / DAY, seconds % DAY);
    // Howard Hinnant's civil_from_days: years begin in March, so that a leap day is the last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / HOUR, second % HOUR / MINUTE);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % MINUTE)
}

/// How often something happens: `0`, `0.2`, `12`, `1840`, `18.4k`, `1.8M`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 0.005 => "0".to_owned(),
        r if r < 0.1 => format!("{r:.2}"),
        r if r < 9.95 => format!("{r:.1}"),
        r if r < 9_999.5 => format!("{r:.0}"),
        r if r < 999_950.0 => format!("{:.1}k", r / 1e3),
        r => format!("{:.1}M", r / 1e6),
    }
}

/// How many there are: `0`, `12`, `1840`, `18.4k`, `1.8M`.
pub(super) fn count(count: u64) -> String {
    if count < 10_000 { count.to_string() } else { rate(count as f64) }
}

/// A size: `512 B`, `3.4 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1e3, UNITS[0]);
    for larger in &UNITS[1..] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1e3, larger);
    }
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_at_every_size() {
        let shown = [0.0, 0.0804, 0.999, 6.14, 9.96, 42.4, 999.4, 999.6, 1_234.0, 185_000.0];
        let want =
            ["0", "80µs", "999µs", "6.1ms", "10ms", "42ms", "999ms", "1.0s", "1.2s", "3m05s"];
        assert_eq!(shown.map(millis), want);
        let spans = [59, 60, 3_599, 7_620, 86_399, 273_600].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["59s", "1m00s", "59m59s", "2h07m", "23h59m", "3d04h"]);
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        let at = |seconds| moment(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_787_123_521), "2026-08-19T07:12:01Z");
    }

    #[test]
    fn rates_and_sizes_are_short_at_every_size() {
        let rates = [0.0, 0.02, 0.25, 9.96, 1_840.2, 18_400.0, 1_800_000.0].map(rate);
        assert_eq!(rates, ["0", "0.02", "0.2", "10", "1840", "18.4k", "1.8M"]);
        assert_eq!([0, 7, 9_999, 16_900].map(count), ["0", "7", "9999", "16.9k"]);
        let sizes = [0, 999, 1_000, 3_400_000, 52_000_000, 1_000_000_000].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "3.4 MB", "52 MB", "1.0 GB"]);
    }
}
