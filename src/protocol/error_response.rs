//! `ErrorResponse` and `NoticeResponse`: reading the fields that matter, writing our own.

use super::frame::{server_tag, split_cstr, write_frame};
use super::sqlstate::SqlState;

/// How much an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement fails, the session goes on.
    Error,
    /// The session ends.
    Fatal,
}

impl Severity {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Error => b"ERROR",
            Self::Fatal => b"FATAL",
        }
    }
}

/// The fields of a server's error that the pooler looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    /// Non-localised severity (field `V`), or the localised one from a server before 9.6.
    pub severity: &'a [u8],
    /// SQLSTATE (field `C`); empty when the server sent none.
    pub code: &'a [u8],
    /// Primary message (field `M`).
    pub message: &'a [u8],
    /// The function in Postgres' source that raised it (field `R`).
    pub routine: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    /// Reads the fields of an error's body. A truncated or malformed body gives what was found:
    /// a server that sends no SQLSTATE must not be able to hurt anyone.
    #[must_use]
    pub fn parse(mut body: &'a [u8]) -> Self {
        let mut fields = Self::default();
        while let Some((&kind, rest)) = body.split_first() {
            if kind == 0 {
                break;
            }
            let Some((value, rest)) = split_cstr(rest) else { break };
            match kind {
                b'S' if fields.severity.is_empty() => fields.severity = value,
                b'V' => fields.severity = value,
                b'C' => fields.code = value,
                b'M' => fields.message = value,
                b'R' => fields.routine = value,
                _ => {}
            }
            body = rest;
        }
        fields
    }

    /// The SQLSTATE, when the server sent a well-formed one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        SqlState::parse(self.code)
    }

    /// Does the server close the connection after this?
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.severity == b"FATAL" || self.severity == b"PANIC"
    }
}

/// Appends an `ErrorResponse` with the fields Postgres always sends, and a hint unless it is empty.
pub fn write_error(
    out: &mut Vec<u8>,
    severity: Severity,
    code: SqlState,
    message: &str,
    hint: &str,
) {
    write_frame(out, server_tag::ERROR, |out| {
        let mut field = |kind: u8, value: &[u8]| {
            out.push(kind);
            // A NUL would end the field early and turn the rest of our text into fields.
            out.extend(value.iter().copied().filter(|&b| b != 0));
            out.push(0);
        };
        field(b'S', severity.as_bytes());
        field(b'V', severity.as_bytes());
        field(b'C', code.as_str().as_bytes());
        field(b'M', message.as_bytes());
        if !hint.is_empty() {
            field(b'H', hint.as_bytes());
        }
        out.push(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_errors_read_back() {
        let mut out = Vec::new();
        write_error(&mut out, Severity::Fatal, SqlState::ADMIN_SHUTDOWN, "by\0e", "why");
        let fields = ErrorFields::parse(&out[5..]);
        assert!(fields.is_fatal());
        assert_eq!(fields.sqlstate(), Some(SqlState::ADMIN_SHUTDOWN));
        assert_eq!(fields.message, b"bye");
    }

    #[test]
    fn an_error_without_sqlstate_is_harmless() {
        let fields = ErrorFields::parse(b"SERROR\0Mno code\0\0");
        assert_eq!(fields.sqlstate(), None);
        assert!(!fields.is_fatal());
    }

    proptest! {
        #[test]
        fn any_body_is_read(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = ErrorFields::parse(&body).sqlstate();
        }
    }
}
