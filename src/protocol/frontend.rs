//! Messages a client sends ("frontend"): reading the names in them, writing the ones we inject.

use super::frame::{client_tag, split_cstr, write_frame};

/// A message whose body is not what its type asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid message format")]
pub struct Malformed;

/// The two kinds of things that Describe and Close name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

/// A Parse message's body: the name, and the rest (text and parameter types) as one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Query text with its NUL, the count of parameter types and the types: all that gives the
    /// statement its meaning.
    pub statement: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Reads a Parse body.
    ///
    /// # Errors
    /// When a string is unterminated or the type list is not as long as its count says.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let (name, statement) = split_cstr(body).ok_or(Malformed)?;
        let (_, types) = split_cstr(statement).ok_or(Malformed)?;
        let (count, types) = types.split_first_chunk::<2>().ok_or(Malformed)?;
        if types.len() != usize::from(u16::from_be_bytes(*count)) * 4 {
            return Err(Malformed);
        }
        Ok(Self { name, statement })
    }
}

/// The names at the start of a Bind body and what follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name with its NUL.
    pub portal: &'a [u8],
    /// The statement's name, without its NUL.
    pub statement: &'a [u8],
    /// Bytes of the body up to the end of the statement's NUL.
    pub names_length: usize,
}

impl<'a> Bind<'a> {
    /// Reads the names of a Bind from the part of its body that is there.
    ///
    /// `None`: the names go on beyond what is there.
    #[inline]
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let portal_end = memchr::memchr(0, body)? + 1;
        let statement_end = portal_end + memchr::memchr(0, &body[portal_end..])?;
        Some(Self {
            portal: &body[..portal_end],
            statement: &body[portal_end..statement_end],
            names_length: statement_end + 1,
        })
    }
}

/// Reads a Describe's or Close's body: what it names.
///
/// # Errors
/// When it is neither `S` nor `P` with exactly one terminated name.
pub fn target(body: &[u8]) -> Result<(Target, &[u8]), Malformed> {
    let (&kind, rest) = body.split_first().ok_or(Malformed)?;
    let (name, rest) = split_cstr(rest).ok_or(Malformed)?;
    if !rest.is_empty() {
        return Err(Malformed);
    }
    match kind {
        b'S' => Ok((Target::Statement, name)),
        b'P' => Ok((Target::Portal, name)),
        _ => Err(Malformed),
    }
}

/// Appends a Query.
pub fn write_query(out: &mut Vec<u8>, sql: &str) {
    write_frame(out, client_tag::QUERY, |out| {
        out.extend_from_slice(sql.as_bytes());
        out.push(0);
    });
}

/// Appends a Parse of `statement` (a [`Parse::statement`]) under `name`.
pub fn write_parse(out: &mut Vec<u8>, name: &[u8], statement: &[u8]) {
    write_frame(out, client_tag::PARSE, |out| {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(statement);
    });
}

/// Appends a Describe of the statement called `name`.
pub fn write_describe_statement(out: &mut Vec<u8>, name: &[u8]) {
    write_frame(out, client_tag::DESCRIBE, |out| {
        out.push(b'S');
        out.extend_from_slice(name);
        out.push(0);
    });
}

/// Appends a Close of the statement called `name`.
pub fn write_close_statement(out: &mut Vec<u8>, name: &[u8]) {
    write_frame(out, client_tag::CLOSE, |out| {
        out.push(b'S');
        out.extend_from_slice(name);
        out.push(0);
    });
}

/// Appends a Close of the portal called `name`.
pub fn write_close_portal(out: &mut Vec<u8>, name: &[u8]) {
    write_frame(out, client_tag::CLOSE, |out| {
        out.push(b'P');
        out.extend_from_slice(name);
        out.push(0);
    });
}

/// Appends a Bind of `statement`, which takes no parameters, to `portal`; results are text.
pub fn write_bind(out: &mut Vec<u8>, portal: &[u8], statement: &[u8]) {
    write_frame(out, client_tag::BIND, |out| {
        out.extend_from_slice(portal);
        out.push(0);
        out.extend_from_slice(statement);
        // The end of the name, and no formats, no parameters, no formats of results.
        out.extend_from_slice(&[0; 7]);
    });
}

/// Appends an Execute of the portal called `portal`, all rows.
pub fn write_execute(out: &mut Vec<u8>, portal: &[u8]) {
    write_frame(out, client_tag::EXECUTE, |out| {
        out.extend_from_slice(portal);
        out.extend_from_slice(&[0; 5]);
    });
}

/// Appends a message that is only a header: Sync, Flush, Terminate.
pub fn write_empty(out: &mut Vec<u8>, tag: u8) {
    write_frame(out, tag, |_| ());
}

/// Appends a `PasswordMessage` or SASL response with `body` as it stands.
pub fn write_password(out: &mut Vec<u8>, body: &[u8]) {
    write_frame(out, client_tag::PASSWORD, |out| out.extend_from_slice(body));
}

/// Appends a `StartupMessage`, which has no tag.
pub fn write_startup(out: &mut Vec<u8>, version: u32, parameters: &[(&str, &str)]) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&version.to_be_bytes());
    for (name, value) in parameters {
        for text in [name, value] {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
    }
    out.push(0);
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends an `SSLRequest`, which has no tag.
pub fn write_ssl_request(out: &mut Vec<u8>) {
    out.extend_from_slice(&8_u32.to_be_bytes());
    out.extend_from_slice(&super::startup::SSL_REQUEST_CODE.to_be_bytes());
}

/// Appends a `CancelRequest`, which has no tag.
pub fn write_cancel(out: &mut Vec<u8>, pid: u32, secret: &[u8]) {
    let length = u32::try_from(12 + secret.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&super::startup::CANCEL_REQUEST_CODE.to_be_bytes());
    out.extend_from_slice(&pid.to_be_bytes());
    out.extend_from_slice(secret);
}

#[cfg(test)]
mod tests {
    use super::super::frame::HEADER_LENGTH;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parse_splits_name_and_meaning() {
        let mut out = Vec::new();
        write_parse(&mut out, b"s1", b"select $1\0\0\x01\0\0\0\x17");
        let parse = Parse::read(&out[HEADER_LENGTH..]).unwrap();
        assert_eq!(parse.name, b"s1");
        assert_eq!(parse.statement, b"select $1\0\0\x01\0\0\0\x17");
    }

    #[test]
    fn parse_with_a_short_type_list_is_malformed() {
        assert_eq!(Parse::read(b"\0select 1\0\0\x01"), Err(Malformed));
        assert_eq!(Parse::read(b"\0select 1\0\0\0x"), Err(Malformed));
        assert_eq!(Parse::read(b"s"), Err(Malformed));
    }

    #[test]
    fn bind_needs_both_names() {
        assert_eq!(Bind::read(b"portal\0stat"), None);
        let bind = Bind::read(b"p\0s1\0rest").unwrap();
        assert_eq!((bind.portal, bind.statement), (&b"p\0"[..], &b"s1"[..]));
        assert_eq!(bind.names_length, 5);
    }

    #[test]
    fn targets_are_statements_or_portals() {
        assert_eq!(target(b"Ss1\0"), Ok((Target::Statement, &b"s1"[..])));
        assert_eq!(target(b"P\0"), Ok((Target::Portal, &b""[..])));
        for bad in [&b""[..], b"S", b"Xs\0", b"Ss\0x"] {
            assert_eq!(target(bad), Err(Malformed));
        }
    }

    proptest! {
        #[test]
        fn any_body_gives_an_answer(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Parse::read(&body);
            let _ = Bind::read(&body);
            let _ = target(&body);
        }
    }
}
