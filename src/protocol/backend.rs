//! Messages a server sends ("backend"): reading the few that steer the pooler, writing the ones
//! it says itself.

use super::frame::{server_tag, split_cstr, write_frame};

/// The transaction status in `ReadyForQuery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: no transaction is open.
    Idle,
    /// `T`: in a transaction block.
    InTransaction,
    /// `E`: in a failed transaction block.
    Failed,
}

impl TransactionStatus {
    /// Reads the status byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::InTransaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// The status byte.
    #[must_use]
    pub fn as_byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// What a server asks for in its `Authentication…` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Nothing more: the login is accepted.
    Ok,
    /// The password itself.
    CleartextPassword,
    /// `md5(md5(password + user) + salt)`.
    Md5Password([u8; 4]),
    /// One of these SASL mechanisms.
    Sasl(Vec<&'a str>),
    /// The server's challenge within SASL.
    SaslContinue(&'a [u8]),
    /// The server's last word within SASL.
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI, SSPI, SCM or one from the future.
    Unsupported(u32),
}

impl<'a> Authentication<'a> {
    /// Reads the body of an `R` message; `None` when it is malformed.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (code, rest) = body.split_first_chunk::<4>()?;
        Some(match u32::from_be_bytes(*code) {
            0 => Self::Ok,
            3 => Self::CleartextPassword,
            5 => Self::Md5Password(*rest.first_chunk::<4>()?),
            10 => Self::Sasl(mechanisms(rest)?),
            11 => Self::SaslContinue(rest),
            12 => Self::SaslFinal(rest),
            other => Self::Unsupported(other),
        })
    }
}

fn mechanisms(mut rest: &[u8]) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    loop {
        let (name, after) = split_cstr(rest)?;
        if name.is_empty() {
            return Some(names);
        }
        names.push(std::str::from_utf8(name).ok()?);
        rest = after;
    }
}

/// Reads a `ParameterStatus` body: name and value. `None` when malformed or not UTF-8: such a
/// setting is passed on but not remembered.
#[must_use]
pub fn parameter_status(body: &[u8]) -> Option<(&str, &str)> {
    let (name, rest) = split_cstr(body)?;
    let (value, _) = split_cstr(rest)?;
    Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
}

/// The command tag of a `CommandComplete` body, without its NUL.
#[inline]
#[must_use]
pub fn command_tag(body: &[u8]) -> &[u8] {
    body.strip_suffix(&[0]).unwrap_or(body)
}

/// Appends an `Authentication…` message.
pub fn write_authentication(out: &mut Vec<u8>, code: u32, rest: &[u8]) {
    write_frame(out, server_tag::AUTHENTICATION, |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(rest);
    });
}

/// Appends a `ParameterStatus`.
pub fn write_parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    write_frame(out, server_tag::PARAMETER_STATUS, |out| {
        for text in [name, value] {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
    });
}

/// Appends `BackendKeyData`; `secret` is 4 bytes, or up to 256 in protocol 3.2.
pub fn write_backend_key(out: &mut Vec<u8>, pid: u32, secret: &[u8]) {
    write_frame(out, server_tag::BACKEND_KEY_DATA, |out| {
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// Appends `NegotiateProtocolVersion`: the newest minor version spoken here, and the options that
/// are not known.
pub fn write_negotiate_version(out: &mut Vec<u8>, version: u32, unknown: &[String]) {
    write_frame(out, server_tag::NEGOTIATE_VERSION, |out| {
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&u32::try_from(unknown.len()).unwrap_or(u32::MAX).to_be_bytes());
        for name in unknown {
            out.extend_from_slice(name.as_bytes());
            out.push(0);
        }
    });
}

/// Appends `ReadyForQuery`.
pub fn write_ready(out: &mut Vec<u8>, status: TransactionStatus) {
    out.extend_from_slice(&[server_tag::READY_FOR_QUERY, 0, 0, 0, 5, status.as_byte()]);
}

/// Appends a reply without a body: `ParseComplete`, `CloseComplete`.
pub fn write_empty_reply(out: &mut Vec<u8>, tag: u8) {
    out.extend_from_slice(&[tag, 0, 0, 0, 4]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn authentication_requests_are_read() {
        assert_eq!(Authentication::parse(&[0, 0, 0, 0]), Some(Authentication::Ok));
        let md5 = Authentication::parse(&[0, 0, 0, 5, 1, 2, 3, 4]);
        assert_eq!(md5, Some(Authentication::Md5Password([1, 2, 3, 4])));
        assert_eq!(Authentication::parse(&[0, 0, 0, 5, 1]), None);
        let sasl = Authentication::parse(b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        assert_eq!(sasl, Some(Authentication::Sasl(vec!["SCRAM-SHA-256"])));
        assert_eq!(Authentication::parse(b"\0\0\0\x0aSCRAM"), None);
    }

    #[test]
    fn a_parameter_status_reads_back() {
        let mut out = Vec::new();
        write_parameter_status(&mut out, "TimeZone", "UTC");
        assert_eq!(parameter_status(&out[5..]), Some(("TimeZone", "UTC")));
    }

    proptest! {
        #[test]
        fn any_body_gives_an_answer(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Authentication::parse(&body);
            let _ = parameter_status(&body);
            let _ = command_tag(&body);
        }
    }
}
