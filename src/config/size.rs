//! How a size in bytes is read and shown.

use super::fault::Problem;
use super::kind::{Input, Kind, Literal};
use super::units;

/// A size of memory from `low` to `high` bytes; a number without a unit is bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) low: usize,
    pub(super) high: usize,
}

impl Kind for Size {
    type Value = usize;

    fn read(&self, input: Input<'_>) -> Result<usize, Problem> {
        let text = match input {
            Input::Whole(number) => number.to_string(),
            other @ (Input::Decimal(_)
            | Input::Flag(_)
            | Input::Text(_)
            | Input::Variable(_)
            | Input::Unset
            | Input::Other(_)) => other.text("a size such as \"64MB\"")?.to_owned(),
        };
        let bytes = units::size(&text).map_err(|why| Problem::Size { given: text.clone(), why })?;
        let fits = usize::try_from(bytes).ok().filter(|b| (self.low..=self.high).contains(b));
        fits.ok_or(Problem::AmountOutOfRange {
            given: text,
            low: units::show_size(self.low as u64),
            high: units::show_size(self.high as u64),
        })
    }

    fn show(&self, value: &usize) -> Option<Literal> {
        Some(Literal::text(&units::show_size(*value as u64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { low: 1 << 20, high: 1 << 30 };

    #[test]
    fn sizes_have_units_and_limits() {
        for (text, bytes) in [("64MB", 64 << 20), ("1 gb", 1 << 30), ("1048576", 1 << 20)] {
            assert_eq!(SIZE.read(Input::Text(text)).ok(), Some(bytes), "{text}");
        }
        assert_eq!(SIZE.read(Input::Whole(2 << 20)).ok(), Some(2 << 20));
        let fault = |input| SIZE.read(input).unwrap_err().to_string();
        assert_eq!(fault(Input::Text("64")), "\"64\" is out of range: 1MB to 1GB");
        assert_eq!(
            fault(Input::Text("64MiB")),
            "\"64MiB\" is not a size such as 64kB, 64MB or 1GB: unknown unit; the units are B, kB, MB, GB, TB"
        );
        assert_eq!(
            fault(Input::Flag(true)),
            "expected a size such as \"64MB\", found true or false"
        );
        assert_eq!(SIZE.show(&(3 << 19)).unwrap().to_string(), "\"1536kB\"");
    }
}
