//! Frame headers and message tags: where a message starts and ends, never what it means.

/// Bytes of a frame header: one tag byte and a big-endian length that counts itself.
pub const HEADER_LENGTH: usize = 5;

/// Postgres' limit for messages that carry user data (`PQ_LARGE_MESSAGE_LIMIT`, libpq/libpq.h):
/// one byte less than the largest palloc, 1 GiB - 2.
pub const LARGE_MESSAGE_LIMIT: u32 = 0x3fff_fffe;

/// Postgres' limit for messages that never carry much (`PQ_SMALL_MESSAGE_LIMIT`).
pub const SMALL_MESSAGE_LIMIT: u32 = 10_000;

/// The header of a frame: its tag and the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message's type.
    pub tag: u8,
    /// Bytes that follow the header.
    pub body: u32,
}

impl Header {
    /// Bytes of the whole frame, header included.
    #[must_use]
    pub fn frame_length(self) -> usize {
        HEADER_LENGTH + self.body as usize
    }
}

/// A length field that cannot be: below four (it counts itself) or over the large limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid message length {length} for message type {tag:#04x}")]
pub struct InvalidLength {
    /// The message's type byte.
    pub tag: u8,
    /// The length field as read.
    pub length: u32,
}

/// Reads the header at the start of `bytes`; `None` when fewer than five bytes are there.
///
/// # Errors
/// When the length field cannot be a Postgres message's.
#[inline]
pub fn header(bytes: &[u8]) -> Result<Option<Header>, InvalidLength> {
    let Some(head) = bytes.first_chunk::<HEADER_LENGTH>() else { return Ok(None) };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    match length.checked_sub(4) {
        Some(body) if body <= LARGE_MESSAGE_LIMIT => Ok(Some(Header { tag: head[0], body })),
        _ => Err(InvalidLength { tag: head[0], length }),
    }
}

/// Is the last thing in `bytes`, which begin between two messages, a whole message of this type without a body? The same
/// bytes within another message are not one.
#[must_use]
pub fn ends_with_empty(mut bytes: &[u8], tag: u8) -> bool {
    let wanted = [tag, 0, 0, 0, 4];
    if !bytes.ends_with(&wanted) {
        return false;
    }
    while let Ok(Some(head)) = header(bytes) {
        if bytes == wanted {
            return true;
        }
        let Some(rest) = bytes.get(head.frame_length()..) else { return false };
        bytes = rest;
    }
    false
}

/// Appends a frame made of `tag` and what `body` writes, and fills in its length.
///
/// Bodies made here are small (names, error texts, statements within their own limit), so the
/// length always fits.
pub fn write_frame(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Splits a NUL-terminated string off the front of `bytes`; `None` without a NUL.
#[inline]
#[must_use]
pub fn split_cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Tags of messages a client sends ("frontend" in Postgres' documentation).
pub mod client_tag {
    /// Bind.
    pub const BIND: u8 = b'B';
    /// Close (statement or portal).
    pub const CLOSE: u8 = b'C';
    /// `CopyData`.
    pub const COPY_DATA: u8 = b'd';
    /// `CopyDone`.
    pub const COPY_DONE: u8 = b'c';
    /// `CopyFail`.
    pub const COPY_FAIL: u8 = b'f';
    /// Describe (statement or portal).
    pub const DESCRIBE: u8 = b'D';
    /// Execute.
    pub const EXECUTE: u8 = b'E';
    /// Flush.
    pub const FLUSH: u8 = b'H';
    /// `FunctionCall` (fast path).
    pub const FUNCTION_CALL: u8 = b'F';
    /// Parse.
    pub const PARSE: u8 = b'P';
    /// `PasswordMessage`, `SASLInitialResponse`, `SASLResponse`.
    pub const PASSWORD: u8 = b'p';
    /// Query (simple protocol).
    pub const QUERY: u8 = b'Q';
    /// Sync.
    pub const SYNC: u8 = b'S';
    /// Terminate.
    pub const TERMINATE: u8 = b'X';
}

/// Tags of messages a server sends ("backend" in Postgres' documentation).
pub mod server_tag {
    /// Authentication request.
    pub const AUTHENTICATION: u8 = b'R';
    /// `BackendKeyData`.
    pub const BACKEND_KEY_DATA: u8 = b'K';
    /// `BindComplete`.
    pub const BIND_COMPLETE: u8 = b'2';
    /// `CloseComplete`.
    pub const CLOSE_COMPLETE: u8 = b'3';
    /// `CommandComplete`.
    pub const COMMAND_COMPLETE: u8 = b'C';
    /// `CopyBothResponse`.
    pub const COPY_BOTH: u8 = b'W';
    /// `CopyData`.
    pub const COPY_DATA: u8 = b'd';
    /// `CopyDone`.
    pub const COPY_DONE: u8 = b'c';
    /// `CopyInResponse`.
    pub const COPY_IN: u8 = b'G';
    /// `CopyOutResponse`.
    pub const COPY_OUT: u8 = b'H';
    /// `DataRow`.
    pub const DATA_ROW: u8 = b'D';
    /// `EmptyQueryResponse`.
    pub const EMPTY_QUERY: u8 = b'I';
    /// `ErrorResponse`.
    pub const ERROR: u8 = b'E';
    /// `FunctionCallResponse`.
    pub const FUNCTION_RESPONSE: u8 = b'V';
    /// `NegotiateProtocolVersion`.
    pub const NEGOTIATE_VERSION: u8 = b'v';
    /// `NoData`.
    pub const NO_DATA: u8 = b'n';
    /// `NoticeResponse`.
    pub const NOTICE: u8 = b'N';
    /// `NotificationResponse`.
    pub const NOTIFICATION: u8 = b'A';
    /// `ParameterDescription`.
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    /// `ParameterStatus`.
    pub const PARAMETER_STATUS: u8 = b'S';
    /// `ParseComplete`.
    pub const PARSE_COMPLETE: u8 = b'1';
    /// `PortalSuspended`.
    pub const PORTAL_SUSPENDED: u8 = b's';
    /// `ReadyForQuery`.
    pub const READY_FOR_QUERY: u8 = b'Z';
    /// `RowDescription`.
    pub const ROW_DESCRIPTION: u8 = b'T';
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_message_at_the_end_is_told_from_the_same_bytes_within_another() {
        let terminate = b"X\0\0\0\x04";
        let query = |text: &[u8]| {
            let mut out = Vec::new();
            write_frame(&mut out, client_tag::QUERY, |out| out.extend_from_slice(text));
            out
        };
        let ends = |bytes: &[u8]| ends_with_empty(bytes, client_tag::TERMINATE);
        assert!(ends(terminate) && ends(&[&query(b"select 1\0")[..], terminate].concat()));
        assert!(!ends(b"") && !ends(&query(terminate)) && !ends(&terminate[..4]));
        // The rest of the query is to come.
        assert!(!ends(&query(&[&terminate[..], b"more\0"].concat())[..10]));
        assert!(!ends(&[&b"Q\0\0\0\x03"[..], terminate].concat()), "no message at all");
    }

    #[test]
    fn a_header_needs_five_bytes() {
        assert_eq!(header(b"Q\0\0\0"), Ok(None));
        assert_eq!(header(b"Q\0\0\0\x04"), Ok(Some(Header { tag: b'Q', body: 0 })));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for length in [0u32, 3, 0x4000_0003, u32::MAX] {
            let mut bytes = vec![b'Q'];
            bytes.extend(length.to_be_bytes());
            assert_eq!(header(&bytes), Err(InvalidLength { tag: b'Q', length }));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tag: u8, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            write_frame(&mut out, tag, |o| o.extend_from_slice(&body));
            let head = header(&out).unwrap().unwrap();
            prop_assert_eq!(head.tag, tag);
            prop_assert_eq!(head.frame_length(), out.len());
            prop_assert_eq!(&out[HEADER_LENGTH..], &body[..]);
        }

        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let _ = header(&bytes);
            let _ = split_cstr(&bytes);
        }
    }
}
