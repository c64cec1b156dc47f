//! The grammar below SCRAM's messages: `letter=value` pairs, the forms of their values, and what can be wrong with
//! them; which attributes make a message is told in `messages`.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::super::secret_bytes::SecretBytes;
use super::keys::ParamsError;

/// Longest message in bytes: `PG_MAX_SASL_MESSAGE_LENGTH` of `src/backend/libpq/auth-sasl.c`. Real ones take less
/// than 200.
pub const MAX_MESSAGE_LEN: usize = 1024;

/// What the other side did wrong. Texts hold none of its bytes, so they are safe in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than [`MAX_MESSAGE_LEN`].
    #[error("the message is longer than {MAX_MESSAGE_LEN} bytes")]
    TooLong,
    /// Postgres' messages are C strings.
    #[error("the message contains a zero byte")]
    ZeroByte,
    /// The first part is not `n,` or `y,` or `p=…,`.
    #[error("the channel binding flag is malformed")]
    BindingFlag,
    /// `p=`, although we offer no mechanism with channel binding.
    #[error("channel binding was requested and not offered")]
    BindingNotOffered,
    /// An identity to act for, which Postgres does not know either.
    #[error("an authorization identity was given")]
    AuthorizationIdentity,
    /// `m=`: the sender insists on an extension, of which there are none.
    #[error("a mandatory extension was requested")]
    MandatoryExtension,
    /// Not of the form `letter=value`.
    #[error("an attribute is malformed")]
    BadAttribute,
    /// Another attribute, or none, where this one belongs.
    #[error("attribute {0} is missing")]
    Missing(Attribute),
    /// The attribute's value is malformed.
    #[error("attribute {0} is malformed")]
    BadValue(Attribute),
    /// More where the message should end.
    #[error("the message goes on after its end")]
    Trailing,
    /// Salt or iteration count out of range.
    #[error("the message has {0}")]
    Params(#[from] ParamsError),
}

/// The attributes in use (RFC 5802 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// `n`
    UserName,
    /// `r`
    Nonce,
    /// `s`
    Salt,
    /// `i`
    Iterations,
    /// `c`
    Binding,
    /// `p`
    Proof,
    /// `v`
    Verifier,
}

impl Attribute {
    const fn letter(self) -> u8 {
        match self {
            Self::UserName => b'n',
            Self::Nonce => b'r',
            Self::Salt => b's',
            Self::Iterations => b'i',
            Self::Binding => b'c',
            Self::Proof => b'p',
            Self::Verifier => b'v',
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", char::from(self.letter()))
    }
}

/// Walks `letter=value` pairs separated by commas.
pub(super) struct Attributes<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: Some(message) }
    }

    fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, MessageError> {
        let Some(rest) = self.rest else { return Ok(None) };
        let (attribute, tail) = match split_comma(rest) {
            Some((attribute, tail)) => (attribute, Some(tail)),
            None => (rest, None),
        };
        self.rest = tail;
        match attribute {
            [letter, b'=', value @ ..] if letter.is_ascii_alphabetic() => {
                Ok(Some((*letter, value)))
            }
            _ => Err(MessageError::BadAttribute),
        }
    }

    pub(super) fn expect(&mut self, attribute: Attribute) -> Result<&'a [u8], MessageError> {
        match self.next()? {
            Some((letter, value)) if letter == attribute.letter() => Ok(value),
            Some((b'm', _)) => Err(MessageError::MandatoryExtension),
            Some(_) | None => Err(MessageError::Missing(attribute)),
        }
    }

    /// Optional extensions may be ignored when they are well formed; none are known.
    pub(super) fn skip_extensions(&mut self) -> Result<(), MessageError> {
        while self.next()?.is_some() {}
        Ok(())
    }

    /// A server has no extension to send that was not asked for.
    pub(super) fn expect_end(&self) -> Result<(), MessageError> {
        match self.rest {
            None => Ok(()),
            Some(_) => Err(MessageError::Trailing),
        }
    }
}

pub(super) fn check_text(message: &[u8]) -> Result<(), MessageError> {
    if message.len() > MAX_MESSAGE_LEN {
        return Err(MessageError::TooLong);
    }
    if message.contains(&0) {
        return Err(MessageError::ZeroByte);
    }
    Ok(())
}

pub(super) fn split_comma(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let comma = memchr::memchr(b',', text)?;
    Some((&text[..comma], &text[comma + 1..]))
}

/// Printable ASCII without spaces (commas are gone already); not empty.
pub(super) fn nonce(value: &[u8]) -> Result<&str, MessageError> {
    const BAD: MessageError = MessageError::BadValue(Attribute::Nonce);
    if value.is_empty() || !value.iter().all(u8::is_ascii_graphic) {
        return Err(BAD);
    }
    str::from_utf8(value).map_err(|_| BAD)
}

/// Digits, the first not zero. A number too large for its type is simply too large.
pub(super) fn posit_number(value: &[u8]) -> Result<u32, MessageError> {
    const BAD: MessageError = MessageError::BadValue(Attribute::Iterations);
    let well_formed =
        matches!(value, [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    let digits = str::from_utf8(value).ok().filter(|_| well_formed).ok_or(BAD)?;
    digits.parse().map_err(|_| ParamsError::Iterations.into())
}

pub(super) fn base64(value: &[u8], attribute: Attribute) -> Result<Vec<u8>, MessageError> {
    BASE64_STANDARD.decode(value).map_err(|_| MessageError::BadValue(attribute))
}

pub(super) fn key(value: &[u8], attribute: Attribute) -> Result<SecretBytes, MessageError> {
    let bytes = base64(value, attribute)?;
    bytes.try_into().map(SecretBytes::new).map_err(|_| MessageError::BadValue(attribute))
}
