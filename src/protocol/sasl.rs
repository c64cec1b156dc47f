//! SASL's messages of a client: the first one names a mechanism. What stands in them is `auth`'s.

/// A `SASLInitialResponse` without its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitialResponse<'a> {
    /// The mechanism that the client chose.
    pub mechanism: &'a [u8],
    /// What it says to begin with; `None`: it waits to be asked (a length of -1).
    pub data: Option<&'a [u8]>,
}

impl<'a> InitialResponse<'a> {
    /// `None`: it is cut short, or has more or less data than it says.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let end = body.iter().position(|byte| *byte == 0)?;
        let (length, data) = body[end + 1..].split_first_chunk::<4>()?;
        let mechanism = &body[..end];
        match i32::from_be_bytes(*length) {
            -1 if data.is_empty() => Some(Self { mechanism, data: None }),
            length if usize::try_from(length) == Ok(data.len()) => {
                Some(Self { mechanism, data: Some(data) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initial_response_has_as_much_data_as_it_says_or_none() {
        let parse = InitialResponse::parse;
        let mechanism = &b"X"[..];
        assert_eq!(
            parse(b"X\0\0\0\0\x03abc"),
            Some(InitialResponse { mechanism, data: Some(b"abc") })
        );
        assert_eq!(parse(b"X\0\0\0\0\0"), Some(InitialResponse { mechanism, data: Some(b"") }));
        assert_eq!(parse(b"X\0\xff\xff\xff\xff"), Some(InitialResponse { mechanism, data: None }));
        for bad in [
            &b""[..],
            b"X",
            b"X\0",
            b"X\0\0\0\0",
            b"X\0\0\0\0\x04abc",
            b"X\0\0\0\0\x02abc",
            b"X\0\xff\xff\xff\xffabc",
            b"X\0\xff\xff\xff\xfeab",
            b"X\0\x80\0\0\0",
        ] {
            assert_eq!(parse(bad), None, "{:?}", bad.escape_ascii().to_string());
        }
    }
}
