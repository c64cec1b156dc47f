//! Which trace a statement belongs to: the header `traceparent` of W3C Trace Context
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>), which comes in a comment.

use std::fmt;
use std::str::FromStr;

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never 0.
    pub trace: u128,
    /// The span that the statement is part of; never 0.
    pub parent: u64,
    /// Is the trace recorded?
    pub sampled: Sampled,
}

/// Is a trace recorded?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// It is.
    Yes,
    /// Nobody will find it.
    No,
}

/// It is written otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct NotATraceParent;

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits).ok_or(NotATraceParent)?;
            let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if !part.bytes().all(plain) {
                return Err(NotATraceParent);
            }
            u128::from_str_radix(part, 16).map_err(|_| NotATraceParent)
        };
        let (version, trace, parent, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let more = parts.next().is_some();
        // Later versions may go on; 255 is none.
        if version == 255 || version == 0 && more || trace == 0 || parent == 0 {
            return Err(NotATraceParent);
        }
        let sampled = if flags & 1 == 1 { Sampled::Yes } else { Sampled::No };
        // Sixteen digits fit.
        Ok(Self { trace, parent: parent as u64, sampled })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = match self.sampled {
            Sampled::Yes => 1,
            Sampled::No => 0,
        };
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_reads_back_with_its_flag() {
        let parent: TraceParent = EXAMPLE.parse().unwrap();
        assert_eq!((parent.parent, parent.sampled), (0x00f0_67aa_0ba9_02b7, Sampled::Yes));
        assert_eq!(parent.to_string(), EXAMPLE);
        let unsampled = EXAMPLE.replace("-01", "-00").parse::<TraceParent>().unwrap();
        assert_eq!(unsampled.sampled, Sampled::No);
    }

    #[test]
    fn a_later_version_may_go_on() {
        assert!(format!("01{}-what-ever", &EXAMPLE[2..]).parse::<TraceParent>().is_ok());
    }

    #[test]
    fn what_the_standard_forbids_is_none() {
        for wrong in [
            "",
            "00",
            &EXAMPLE[..54],
            &format!("{EXAMPLE}-more"),
            &format!("ff{}", &EXAMPLE[2..]),
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &EXAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &EXAMPLE.replace("4bf9", "+bf9"),
        ] {
            assert_eq!(wrong.parse::<TraceParent>(), Err(NotATraceParent), "{wrong}");
        }
    }
}
