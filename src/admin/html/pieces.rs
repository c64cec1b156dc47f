//! Small pictures and cells that several pages have. Widths are numbers in attributes of SVG: the page's policy
//! allows no style but its own.

use maud::{Markup, html};

use crate::admin::human;
use crate::stats::spread::Spread;

/// Buckets that double, from the first, which has all up to [`FIRST_MICROS`], to the last, which has all beyond. The
/// same for all statements, so that pictures one above the other can be compared.
const BUCKETS: usize = 21;

/// The end of the first bucket, in microseconds; the last one begins at 33 seconds.
const FIRST_MICROS: u64 = 64;

/// How times are spread, for a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bars([u64; BUCKETS]);

impl From<&Spread> for Bars {
    fn from(spread: &Spread) -> Self {
        let mut bars = Self::default();
        for (micros, count) in spread.iter() {
            bars.0[bucket(micros)] += count;
        }
        bars
    }
}

impl Bars {
    /// With those of another.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }

    /// A picture that fits into a line.
    pub(crate) fn small(&self) -> Markup {
        const HEIGHT: f64 = 22.0;
        const STEP: usize = 4;
        let heights = self.heights(HEIGHT);
        html! {
            svg width=(STEP * BUCKETS) height=(HEIGHT) role="img" aria-label=(self.words()) {
                title { (self.words()) }
                rect class="bg" y=(HEIGHT - 1.0) width=(STEP * BUCKETS) height="1" {}
                @for (at, height) in heights.into_iter().enumerate().filter(|(_, h)| *h > 0.0) {
                    rect x=(at * STEP) y=(HEIGHT - height) width=(STEP - 1) height=(height) {}
                }
            }
        }
    }

    /// A picture with numbers: buckets from the first that holds anything to the last.
    pub(crate) fn large(&self) -> Markup {
        const ROW: usize = 20;
        const WIDTH: f64 = 460.0;
        let used: Vec<_> = (0..BUCKETS).filter(|at| self.0[*at] > 0).collect();
        let range = used.first().copied().unwrap_or(0)..used.last().map_or(0, |last| last + 1);
        let widths = self.heights(WIDTH);
        let total: u64 = self.0.iter().sum();
        html! {
            div.wide {
                svg width="680" height=(range.len() * ROW + 10) role="img" aria-label=(self.words()) {
                    @for (row, at) in range.enumerate() {
                        @let y = row * ROW + 6;
                        @let share = self.0[at] as f64 / total.max(1) as f64 * 100.0;
                        text x="72" y=(y + 12) text-anchor="end" { (label(at)) }
                        rect x="80" y=(y + 2) width=(widths[at]) height="14" rx="2" {}
                        text x=(86.0 + widths[at]) y=(y + 12) {
                            (human::count(self.0[at])) " (" (format!("{share:.1}")) " %)"
                        }
                    }
                }
            }
        }
    }

    /// Of each bar; those that hold anything can be seen.
    fn heights(&self, most: f64) -> [f64; BUCKETS] {
        let highest = self.0.iter().copied().max().unwrap_or(0).max(1) as f64;
        self.0.map(|count| match count {
            0 => 0.0,
            count => (count as f64 / highest * most).max(1.5).round(),
        })
    }

    fn words(&self) -> String {
        let used = (0..BUCKETS).filter(|at| self.0[*at] > 0);
        let words = used.map(|at| format!("{}: {}", label(at), human::count(self.0[at])));
        words.collect::<Vec<_>>().join(", ")
    }
}

fn bucket(micros: u64) -> usize {
    (0..BUCKETS - 1).find(|at| micros <= FIRST_MICROS << at).unwrap_or(BUCKETS - 1)
}

/// What a bucket holds.
fn label(at: usize) -> String {
    let millis = |micros: u64| human::millis(micros as f64 / 1e3);
    match at {
        at if at + 1 == BUCKETS => format!("> {}", millis(FIRST_MICROS << (at - 1))),
        at => format!("≤ {}", millis(FIRST_MICROS << at)),
    }
}

/// How much of something is used, as a bar.
pub(crate) fn share(part: f64) -> Markup {
    const WIDTH: f64 = 46.0;
    let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
    html! {
        svg width=(WIDTH) height="8" aria-hidden="true" {
            rect class="bg" width=(WIDTH) height="8" rx="2" {}
            rect width=((WIDTH * part).round()) height="8" rx="2" {}
        }
    }
}

/// A number with its name.
pub(crate) fn card(name: &str, value: &str, note: &str) -> Markup {
    html! { div.card { span { (name) } b { (value) } @if !note.is_empty() { " " small { (note) } } } }
}

/// A part of a path: what is no letter or digit as RFC 3986, 2.1 has it.
pub(crate) fn encoded(part: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).into()
        }
        other => format!("%{other:02X}"),
    };
    part.bytes().map(byte).collect()
}

/// A route with a link to it; one that is not known has none.
pub(crate) fn route_link(route: &str) -> Markup {
    html! {
        @if route.is_empty() { span.dim { "-" } } @else { a href={ "/routes/" (encoded(route)) } { (route) } }
    }
}

/// Something that somebody should look at.
pub(crate) fn alert(text: &str) -> Markup {
    html! { div.alert role="status" { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_its_bucket() {
        assert_eq!([0, 64, 65, 128, 129].map(bucket), [0, 0, 1, 1, 2]);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(label(0), "≤ 64µs");
        assert_eq!((label(BUCKETS - 2), label(BUCKETS - 1)), ("≤ 33.6s".into(), "> 33.6s".into()));
    }

    #[test]
    fn names_are_parts_of_a_path_whatever_they_hold() {
        assert_eq!(encoded("shop_1.x"), "shop_1.x");
        assert_eq!(encoded("a/b?\"<é"), "a%2Fb%3F%22%3C%C3%A9");
    }

    #[test]
    fn pictures_show_what_there_is() {
        let bars = Bars::from(&Spread::new([(50, 3), (1_000, 1), (90_000_000, 1)]));
        assert_eq!(bars.words(), "≤ 64µs: 3, ≤ 1.0ms: 1, > 33.6s: 1");
        assert_eq!(bars.small().into_string().matches("<rect").count(), 4);
        assert!(bars.large().into_string().contains("3 (60.0 %)"));
        assert!(!Bars::default().large().into_string().contains("NaN"));
        assert!(share(f64::NAN).into_string().contains("width=\"0\""));
    }
}
