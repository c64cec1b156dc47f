//! What a client says by `OAUTHBEARER` (RFC 7628, 3.1): read as `oauth_exchange` and `validate_token_format` do
//! (src/backend/libpq/auth-oauth.c, PostgreSQL 18). Nothing of a token goes into an error.

use super::super::ClientHears;

/// Stands between keys with their values, and alone for "understood" (`KVSEP`).
const SEPARATOR: u8 = 1;

/// The key of the token.
const AUTH: &[u8] = b"auth";

/// What the token stands behind, in any letters.
const SCHEME: &[u8] = b"Bearer ";

/// What a client brings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bearer<'a> {
    /// A token, of letters that a token may have.
    Token(&'a str),
    /// Nothing: it asks where to get one.
    Nothing,
    /// Something that is no token.
    Unfit(Unfit),
}

/// Why it is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is of another kind.
    #[error("the client's credentials are not of the scheme Bearer")]
    Scheme,
    /// There is none behind the scheme.
    #[error("the bearer token is empty")]
    Empty,
    /// It has letters that no token has.
    #[error("the bearer token is not in the correct format")]
    Letters,
}

/// What is wrong with a message. The texts are for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is nothing in it.
    #[error("malformed OAUTHBEARER message: it is empty")]
    Empty,
    /// A zero byte.
    #[error("malformed OAUTHBEARER message: a zero byte is in it")]
    Zero,
    /// It begins with something else than `n,,` or `y,,` and the separator.
    #[error("malformed OAUTHBEARER message: it does not begin as RFC 5801 says")]
    Start,
    /// It wants to be bound to a channel, for which there is no mechanism.
    #[error("malformed OAUTHBEARER message: it has channel binding data")]
    Binding,
    /// It wants to act for somebody else.
    #[error("the client uses an authorization identity")]
    Authorization,
    /// A pair without its end.
    #[error("malformed OAUTHBEARER message: a key/value pair is not terminated")]
    Unterminated,
    /// A key alone.
    #[error("malformed OAUTHBEARER message: a key has no value")]
    NoValue,
    /// A key of something else than letters.
    #[error("malformed OAUTHBEARER message: a key is not of letters")]
    Key,
    /// A value with bytes that no value has.
    #[error("malformed OAUTHBEARER message: a value is not printable")]
    Value,
    /// More than one token.
    #[error("malformed OAUTHBEARER message: it has several auth values")]
    Several,
    /// No token.
    #[error("malformed OAUTHBEARER message: it has no auth value")]
    NoAuth,
    /// The separator at the end is missing.
    #[error("malformed OAUTHBEARER message: the final terminator is missing")]
    NoEnd,
    /// Something comes behind the end.
    #[error("malformed OAUTHBEARER message: something follows its end")]
    Trailing,
    /// The answer to a refusal is not what it has to be.
    #[error("malformed OAUTHBEARER message: a refusal was not acknowledged")]
    Acknowledgement,
}

impl Malformed {
    /// What the client may hear.
    #[must_use]
    pub fn client_hears(self) -> ClientHears {
        match self {
            Self::Authorization => ClientHears::Unsupported(
                "client uses authorization identity, but it is not supported",
            ),
            Self::Empty
            | Self::Zero
            | Self::Start
            | Self::Binding
            | Self::Unterminated
            | Self::NoValue
            | Self::Key
            | Self::Value
            | Self::Several
            | Self::NoAuth
            | Self::NoEnd
            | Self::Trailing
            | Self::Acknowledgement => {
                ClientHears::ProtocolViolation("malformed OAUTHBEARER message")
            }
        }
    }
}

/// What a client's first message brings.
///
/// # Errors
/// As [`Malformed`] says.
pub fn bearer(message: &[u8]) -> Result<Bearer<'_>, Malformed> {
    let mut pairs = whole(message).and_then(behind_header)?;
    let mut auth = None;
    loop {
        if pairs.is_empty() {
            return Err(Malformed::NoEnd);
        }
        let end =
            pairs.iter().position(|byte| *byte == SEPARATOR).ok_or(Malformed::Unterminated)?;
        let (pair, rest) = (&pairs[..end], &pairs[end + 1..]);
        if pair.is_empty() {
            let auth = auth.ok_or(Malformed::NoAuth)?;
            return if rest.is_empty() { Ok(token(auth)) } else { Err(Malformed::Trailing) };
        }
        let (key, value) = key_and_value(pair)?;
        if key == AUTH && auth.replace(value).is_some() {
            return Err(Malformed::Several);
        }
        // Other keys are for mechanisms to come: "Unrecognized key/value pairs MUST be ignored".
        pairs = rest;
    }
}

/// What a client answers to a refusal (RFC 7628, 3.2.3).
///
/// # Errors
/// When it is anything but the separator.
pub fn acknowledgement(message: &[u8]) -> Result<(), Malformed> {
    match whole(message)? {
        [SEPARATOR] => Ok(()),
        _ => Err(Malformed::Acknowledgement),
    }
}

fn whole(message: &[u8]) -> Result<&[u8], Malformed> {
    match message {
        [] => Err(Malformed::Empty),
        _ if message.contains(&0) => Err(Malformed::Zero),
        _ => Ok(message),
    }
}

/// What follows GS2's header (RFC 5801, 4) and its separator. The `y` is for clients that know of a bound mechanism.
fn behind_header(message: &[u8]) -> Result<&[u8], Malformed> {
    match message {
        [b'p', ..] => Err(Malformed::Binding),
        [b'n' | b'y', b',', b'a', ..] => Err(Malformed::Authorization),
        [b'n' | b'y', b',', b',', SEPARATOR, rest @ ..] => Ok(rest),
        _ => Err(Malformed::Start),
    }
}

fn key_and_value(pair: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let at = pair.iter().position(|byte| *byte == b'=').ok_or(Malformed::NoValue)?;
    let (key, value) = (&pair[..at], &pair[at + 1..]);
    if key.is_empty() || !key.iter().all(u8::is_ascii_alphabetic) {
        return Err(Malformed::Key);
    }
    let fits = |byte: &u8| matches!(byte, 0x21..=0x7e | b' ' | b'\t' | b'\r' | b'\n');
    if value.iter().all(fits) { Ok((key, value)) } else { Err(Malformed::Value) }
}

/// The token of `Bearer TOKEN` (RFC 6750, 2.1).
fn token(auth: &[u8]) -> Bearer<'_> {
    if auth.is_empty() {
        return Bearer::Nothing;
    }
    let Some((scheme, mut token)) = auth.split_at_checked(SCHEME.len()) else {
        return Bearer::Unfit(Unfit::Scheme);
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Bearer::Unfit(Unfit::Scheme);
    }
    while let [b' ', rest @ ..] = token {
        token = rest;
    }
    if token.is_empty() {
        return Bearer::Unfit(Unfit::Empty);
    }
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    let letters = token.iter().take_while(|byte| in_token(byte)).count();
    let padded = token[letters..].iter().all(|byte| *byte == b'=');
    match std::str::from_utf8(token) {
        Ok(token) if padded => Bearer::Token(token),
        Ok(_) | Err(_) => Bearer::Unfit(Unfit::Letters),
    }
}

/// Without the token.
impl std::fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(***)"),
            Self::Nothing => f.write_str("Nothing"),
            Self::Unfit(unfit) => write!(f, "Unfit({unfit:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_behind_the_word_bearer_in_any_letters() {
        for (message, expected) in [
            (&b"n,,\x01auth=Bearer a.b-_~+/9==\x01\x01"[..], Bearer::Token("a.b-_~+/9==")),
            (b"y,,\x01auth=bEARER   x\x01\x01", Bearer::Token("x")),
            (b"n,,\x01host=db\x01auth=Bearer x\x01port=5432\x01new=\x01\x01", Bearer::Token("x")),
            (b"n,,\x01auth=\x01\x01", Bearer::Nothing),
            (b"n,,\x01auth=Bearer \x01\x01", Bearer::Unfit(Unfit::Empty)),
            (b"n,,\x01auth=Bearer\x01\x01", Bearer::Unfit(Unfit::Scheme)),
            (b"n,,\x01auth=Basic YTpi\x01\x01", Bearer::Unfit(Unfit::Scheme)),
            (b"n,,\x01auth=Bearer a b\x01\x01", Bearer::Unfit(Unfit::Letters)),
            (b"n,,\x01auth=Bearer a=b\x01\x01", Bearer::Unfit(Unfit::Letters)),
            (b"n,,\x01auth=Bearer a\"\x01\x01", Bearer::Unfit(Unfit::Letters)),
        ] {
            assert_eq!(bearer(message), Ok(expected), "{:?}", message.escape_ascii().to_string());
        }
        assert_eq!(format!("{:?}", Bearer::Token("secret")), "Token(***)");
    }

    #[test]
    fn what_postgres_refuses_is_refused() {
        for (message, expected) in [
            (&b""[..], Malformed::Empty),
            (b"n,,\x01auth=Bearer x\x01\x01\0", Malformed::Zero),
            (b"p=tls-unique,,\x01auth=Bearer x\x01\x01", Malformed::Binding),
            (b"n", Malformed::Start),
            (b"n,,", Malformed::Start),
            (b"x,,\x01auth=Bearer x\x01\x01", Malformed::Start),
            (b"n;,\x01auth=Bearer x\x01\x01", Malformed::Start),
            (b"n,b=c,\x01auth=Bearer x\x01\x01", Malformed::Start),
            (b"n,a=ann,\x01auth=Bearer x\x01\x01", Malformed::Authorization),
            (b"n,,auth=Bearer x\x01\x01", Malformed::Start),
            (b"n,,\x01", Malformed::NoEnd),
            (b"n,,\x01\x01", Malformed::NoAuth),
            (b"n,,\x01host=db\x01\x01", Malformed::NoAuth),
            (b"n,,\x01auth=Bearer x", Malformed::Unterminated),
            (b"n,,\x01auth=Bearer x\x01", Malformed::NoEnd),
            (b"n,,\x01auth=Bearer x\x01\x01more", Malformed::Trailing),
            (b"n,,\x01auth\x01\x01", Malformed::NoValue),
            (b"n,,\x01=x\x01auth=Bearer x\x01\x01", Malformed::Key),
            (b"n,,\x01a_b=x\x01auth=Bearer x\x01\x01", Malformed::Key),
            (b"n,,\x01auth=Bearer \x7f\x01\x01", Malformed::Value),
            (b"n,,\x01auth=Bearer \xff\x01\x01", Malformed::Value),
            (b"n,,\x01auth=Bearer x\x01auth=Bearer x\x01\x01", Malformed::Several),
            (b"n,,\x01auth=\x01auth=Bearer x\x01\x01", Malformed::Several),
        ] {
            assert_eq!(bearer(message), Err(expected), "{:?}", message.escape_ascii().to_string());
        }
    }

    #[test]
    fn every_truncation_of_a_message_is_malformed() {
        let message = b"n,,\x01host=db\x01auth=Bearer abc\x01\x01";
        for length in 0..message.len() {
            assert!(bearer(&message[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_refusal_is_acknowledged_by_one_byte() {
        assert_eq!(acknowledgement(b"\x01"), Ok(()));
        for (message, expected) in [
            (&b""[..], Malformed::Empty),
            (b"\0", Malformed::Zero),
            (b"\x01\x01", Malformed::Acknowledgement),
            (b"n,,\x01auth=Bearer x\x01\x01", Malformed::Acknowledgement),
        ] {
            assert_eq!(acknowledgement(message), Err(expected));
        }
    }
}
