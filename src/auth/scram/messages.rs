//! The four messages of SCRAM: strict reading and writing of their texts (RFC 5802 section 7), as Postgres' own
//! `src/backend/libpq/auth-scram.c` and `src/interfaces/libpq/fe-auth-scram.c` do; what they prove is decided in
//! `server` and `client`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::super::secret_bytes::SecretBytes;
use super::attributes::{
    Attribute, Attributes, MessageError, base64, check_text, key, nonce, posit_number, split_comma,
};
use super::keys::ScramParams;
use super::{MECHANISM, MECHANISM_PLUS};

/// Random bytes in a nonce: `SCRAM_RAW_NONCE_LEN` of `src/include/common/scram-common.h`.
const NONCE_LEN: usize = 18;

/// The one type of channel binding that Postgres has.
const BINDING_TYPE: &[u8] = b"p=tls-server-end-point";

/// What a client says about channel binding, and what it binds to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// `n`: the client cannot do it.
    Unsupported,
    /// `y`: the client could, and believes that the server cannot.
    NotOffered,
    /// `p`: the hash of the server's certificate.
    EndPoint(Box<[u8]>),
}

/// The same as client-first says it, which does not hold the hash yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindingFlag {
    Unsupported,
    NotOffered,
    EndPoint,
}

impl Binding {
    /// What a client does that knows the server's end point, or none, when these mechanisms are offered.
    #[must_use]
    pub fn choose(end_point: Option<Box<[u8]>>, offered: &[&str]) -> Self {
        match end_point {
            None => Self::Unsupported,
            Some(end_point) if offered.contains(&MECHANISM_PLUS) => Self::EndPoint(end_point),
            Some(_) => Self::NotOffered,
        }
    }

    /// The mechanism that goes with it.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::Unsupported | Self::NotOffered => MECHANISM,
            Self::EndPoint(_) => MECHANISM_PLUS,
        }
    }

    /// The header a client-first message opens with.
    pub(super) const fn header(&self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    /// The header in base64, and what is bound to, as client-final repeats it: a third party that changed the
    /// flag, or has another certificate, is found out.
    pub(super) fn repeated(&self) -> String {
        let end_point: &[u8] = match self {
            Self::Unsupported | Self::NotOffered => &[],
            Self::EndPoint(end_point) => end_point,
        };
        BASE64_STANDARD.encode([self.header().as_bytes(), end_point].concat())
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    pub(super) binding: BindingFlag,
    pub(super) bare: &'a [u8],
    pub(super) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// The user name in it is ignored: the one of the startup message counts, and libpq sends an empty one.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, MessageError> {
        check_text(message)?;
        let (flag, rest) = split_comma(message).ok_or(MessageError::BindingFlag)?;
        let binding = match flag {
            b"n" => BindingFlag::Unsupported,
            b"y" => BindingFlag::NotOffered,
            BINDING_TYPE => BindingFlag::EndPoint,
            [b'p', b'=', ..] => return Err(MessageError::BindingNotOffered),
            _ => return Err(MessageError::BindingFlag),
        };
        let (identity, bare) = split_comma(rest).ok_or(MessageError::BindingFlag)?;
        if !identity.is_empty() {
            return Err(MessageError::AuthorizationIdentity);
        }
        let mut attributes = Attributes::new(bare);
        attributes.expect(Attribute::UserName)?;
        let nonce = nonce(attributes.expect(Attribute::Nonce)?)?;
        attributes.skip_extensions()?;
        Ok(Self { binding, bare, nonce })
    }
}

/// The part of client-first that is signed. Postgres takes the user from the startup message and ignores this
/// one, as libpq knows.
pub(super) fn client_first_bare(nonce: &str) -> String {
    format!("n=,r={nonce}")
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) params: ScramParams,
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, MessageError> {
        check_text(message)?;
        let mut attributes = Attributes::new(message);
        let nonce = nonce(attributes.expect(Attribute::Nonce)?)?;
        let salt = base64(attributes.expect(Attribute::Salt)?, Attribute::Salt)?;
        let iterations = posit_number(attributes.expect(Attribute::Iterations)?)?;
        attributes.expect_end()?;
        Ok(Self { nonce, params: ScramParams::new(&salt, iterations)? })
    }
}

pub(super) fn server_first(nonce: &str, params: &ScramParams) -> String {
    let salt = BASE64_STANDARD.encode(params.salt());
    format!("r={nonce},s={salt},i={}", params.iterations())
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    pub(super) without_proof: &'a [u8],
    pub(super) binding: &'a [u8],
    pub(super) nonce: &'a str,
    pub(super) proof: SecretBytes,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, MessageError> {
        const NO_PROOF: MessageError = MessageError::Missing(Attribute::Proof);
        check_text(message)?;
        let last_comma = message.iter().rposition(|&byte| byte == b',').ok_or(NO_PROOF)?;
        let (without_proof, last) = (&message[..last_comma], &message[last_comma + 1..]);
        let proof = last.strip_prefix(b"p=").ok_or(NO_PROOF)?;
        let mut attributes = Attributes::new(without_proof);
        let binding = attributes.expect(Attribute::Binding)?;
        let nonce = nonce(attributes.expect(Attribute::Nonce)?)?;
        attributes.skip_extensions()?;
        Ok(Self { without_proof, binding, nonce, proof: key(proof, Attribute::Proof)? })
    }
}

pub(super) fn client_final_without_proof(binding: &Binding, nonce: &str) -> String {
    format!("c={},r={nonce}", binding.repeated())
}

pub(super) fn client_final(without_proof: &str, proof: &SecretBytes) -> String {
    format!("{without_proof},p={}", BASE64_STANDARD.encode(proof.expose()))
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServerFinal {
    Verifier(SecretBytes),
    /// `e=`. Postgres sends an ErrorResponse instead; the value of anyone else's is not worth keeping.
    Error,
}

impl ServerFinal {
    pub(super) fn parse(message: &[u8]) -> Result<Self, MessageError> {
        check_text(message)?;
        if message.starts_with(b"e=") {
            return Ok(Self::Error);
        }
        let mut attributes = Attributes::new(message);
        let verifier = key(attributes.expect(Attribute::Verifier)?, Attribute::Verifier)?;
        attributes.expect_end()?;
        Ok(Self::Verifier(verifier))
    }
}

pub(super) fn server_final(signature: &SecretBytes) -> String {
    format!("v={}", BASE64_STANDARD.encode(signature.expose()))
}

/// A fresh nonce, printable and without commas.
pub(super) fn random_nonce() -> String {
    BASE64_STANDARD.encode(rand::random::<[u8; NONCE_LEN]>())
}

#[cfg(test)]
mod tests {
    use super::super::attributes::MAX_MESSAGE_LEN;
    use super::super::keys::ParamsError;
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "j1VGlAxWJBfhVi1z13EjY9CeUPBEfWzDuMzlTUiEytk=";

    fn client_first(message: &str) -> Result<(BindingFlag, &str), MessageError> {
        ClientFirst::parse(message.as_bytes()).map(|first| (first.binding, first.nonce))
    }

    #[test]
    fn client_first_is_read_with_any_user_name_and_extension() {
        assert_eq!(client_first("n,,n=,r=abc"), Ok((BindingFlag::Unsupported, "abc")));
        assert_eq!(client_first("y,,n=*,r=a=c"), Ok((BindingFlag::NotOffered, "a=c")));
        let bound = client_first("p=tls-server-end-point,,n=,r=abc");
        assert_eq!(bound, Ok((BindingFlag::EndPoint, "abc")));
        assert_eq!(
            client_first("n,,n=al=2Cice,r=abc,x=1,y="),
            Ok((BindingFlag::Unsupported, "abc"))
        );
        assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=abc").unwrap().bare, b"n=\xff,r=abc");
    }

    #[test]
    fn client_first_is_refused_with_the_reason() {
        for (message, error) in [
            ("", MessageError::BindingFlag),
            ("n", MessageError::BindingFlag),
            ("n,", MessageError::BindingFlag),
            ("x,,n=,r=abc", MessageError::BindingFlag),
            ("nn,,n=,r=abc", MessageError::BindingFlag),
            ("p=tls-unique,,n=,r=abc", MessageError::BindingNotOffered),
            ("n,a=root,n=,r=abc", MessageError::AuthorizationIdentity),
            ("n,,m=1,n=,r=abc", MessageError::MandatoryExtension),
            ("n,,n=,m=1,r=abc", MessageError::MandatoryExtension),
            ("n,,r=abc", MessageError::Missing(Attribute::UserName)),
            ("n,,n=", MessageError::Missing(Attribute::Nonce)),
            ("n,,n=,r=", MessageError::BadValue(Attribute::Nonce)),
            ("n,,n=,r=a b", MessageError::BadValue(Attribute::Nonce)),
            ("n,,n=,r=\u{e9}", MessageError::BadValue(Attribute::Nonce)),
            ("n,,n=,r=abc,", MessageError::BadAttribute),
            ("n,,n=,r=abc,extension", MessageError::BadAttribute),
            ("n,,n=,r=abc,1=x", MessageError::BadAttribute),
            ("n,,n=,r=abc\0", MessageError::ZeroByte),
        ] {
            assert_eq!(client_first(message), Err(error), "{message:?}");
        }
    }

    #[test]
    fn the_length_limit_is_exact() {
        let message = |len: usize| format!("n,,n=,r={}", "x".repeat(len - 8));
        assert!(client_first(&message(MAX_MESSAGE_LEN)).is_ok());
        assert_eq!(client_first(&message(MAX_MESSAGE_LEN + 1)), Err(MessageError::TooLong));
    }

    #[test]
    fn server_first_is_read_and_refused_with_the_reason() {
        let parse = |message: &'static str| ServerFirst::parse(message.as_bytes());
        let first = parse("r=abc,s=c2FsdA==,i=4096").unwrap();
        assert_eq!((first.nonce, first.params.salt()), ("abc", b"salt".as_slice()));
        assert_eq!(first.params.iterations(), 4096);
        for (message, error) in [
            ("", MessageError::BadAttribute),
            ("m=x,r=abc,s=c2FsdA==,i=1", MessageError::MandatoryExtension),
            ("s=c2FsdA==,i=1", MessageError::Missing(Attribute::Nonce)),
            ("r=abc,i=1", MessageError::Missing(Attribute::Salt)),
            ("r=abc,s=c2FsdA==", MessageError::Missing(Attribute::Iterations)),
            ("r=abc,s=c2FsdA,i=1", MessageError::BadValue(Attribute::Salt)),
            ("r=abc,s=,i=1", MessageError::Params(ParamsError::SaltLength)),
            ("r=abc,s=c2FsdA==,i=", MessageError::BadValue(Attribute::Iterations)),
            ("r=abc,s=c2FsdA==,i=+1", MessageError::BadValue(Attribute::Iterations)),
            ("r=abc,s=c2FsdA==,i=-1", MessageError::BadValue(Attribute::Iterations)),
            ("r=abc,s=c2FsdA==,i=0", MessageError::BadValue(Attribute::Iterations)),
            ("r=abc,s=c2FsdA==,i=1000001", MessageError::Params(ParamsError::Iterations)),
            ("r=abc,s=c2FsdA==,i=4294967297", MessageError::Params(ParamsError::Iterations)),
            ("r=abc,s=c2FsdA==,i=1,x=1", MessageError::Trailing),
        ] {
            assert_eq!(parse(message), Err(error), "{message:?}");
        }
    }

    #[test]
    fn client_final_is_read_and_refused_with_the_reason() {
        let parse = |message: &str| {
            let parsed = ClientFinal::parse(message.as_bytes());
            parsed.map(|last| String::from_utf8(last.without_proof.to_vec()).unwrap())
        };
        assert_eq!(parse(&format!("c=biws,r=abc,p={KEY}")).unwrap(), "c=biws,r=abc");
        assert_eq!(parse(&format!("c=biws,r=abc,x=1,p={KEY}")).unwrap(), "c=biws,r=abc,x=1");
        for (message, error) in [
            (String::new(), MessageError::Missing(Attribute::Proof)),
            ("c=biws,r=abc".to_owned(), MessageError::Missing(Attribute::Proof)),
            (format!("c=biws,p={KEY}"), MessageError::Missing(Attribute::Nonce)),
            (format!("r=abc,p={KEY}"), MessageError::Missing(Attribute::Binding)),
            (format!("c=biws,r=abc,p={KEY},x=1"), MessageError::Missing(Attribute::Proof)),
            (format!("c=biws,r=abc,p=A{KEY}"), MessageError::BadValue(Attribute::Proof)),
            ("c=biws,r=abc,p=AAAA".to_owned(), MessageError::BadValue(Attribute::Proof)),
            (format!("c=biws,r=abc,,p={KEY}"), MessageError::BadAttribute),
        ] {
            assert_eq!(parse(&message), Err(error), "{message:?}");
        }
    }

    #[test]
    fn server_final_is_a_signature_or_an_error() {
        let parse = |message: &str| ServerFinal::parse(message.as_bytes());
        assert!(matches!(parse(&format!("v={KEY}")), Ok(ServerFinal::Verifier(_))));
        assert_eq!(parse("e=invalid-proof"), Ok(ServerFinal::Error));
        assert_eq!(parse(&format!("v={KEY},x=1")), Err(MessageError::Trailing));
        assert_eq!(parse("v=AAAA"), Err(MessageError::BadValue(Attribute::Verifier)));
        assert_eq!(parse("p=AAAA"), Err(MessageError::Missing(Attribute::Verifier)));
        assert_eq!(parse(""), Err(MessageError::BadAttribute));
    }

    #[test]
    fn nonces_are_valid_and_never_the_same() {
        let (one, two) = (random_nonce(), random_nonce());
        assert_ne!(one, two);
        assert_eq!(one.len(), 24);
        assert_eq!(nonce(one.as_bytes()), Ok(one.as_str()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
            let _ = (ClientFirst::parse(&bytes), ServerFirst::parse(&bytes));
            let _ = (ClientFinal::parse(&bytes), ServerFinal::parse(&bytes));
        }

        #[test]
        fn no_near_miss_makes_a_parser_panic(message in "[nyp]?,?a?,?([nrsicpvm]=[a=,0-9\u{e9}]{0,6},?){0,5}") {
            let bytes = message.as_bytes();
            let _ = (ClientFirst::parse(bytes), ServerFirst::parse(bytes));
            let _ = (ClientFinal::parse(bytes), ServerFinal::parse(bytes));
        }

        #[test]
        fn what_is_written_is_read_back(
            nonce in "[!-+\\--~]{1,64}",
            salt in prop::collection::vec(any::<u8>(), 1..=super::super::MAX_SALT_LEN),
            iterations in 1..=super::super::MAX_ITERATIONS,
            key: [u8; 32],
        ) {
            let params = ScramParams::new(&salt, iterations).unwrap();
            let key = SecretBytes::new(key);
            let first = format!("{}{}", Binding::Unsupported.header(), client_first_bare(&nonce));
            prop_assert_eq!(client_first(&first), Ok((BindingFlag::Unsupported, nonce.as_str())));

            let first = server_first(&nonce, &params);
            let parsed = ServerFirst::parse(first.as_bytes()).unwrap();
            prop_assert_eq!(parsed, ServerFirst { nonce: &nonce, params });

            let without_proof = client_final_without_proof(&Binding::NotOffered, &nonce);
            let last = client_final(&without_proof, &key);
            let parsed = ClientFinal::parse(last.as_bytes()).unwrap();
            prop_assert_eq!(parsed.binding, b"eSws");
            prop_assert_eq!(parsed.without_proof, without_proof.as_bytes());
            prop_assert_eq!((parsed.nonce, parsed.proof), (nonce.as_str(), key.clone()));

            let last = ServerFinal::parse(server_final(&key).as_bytes());
            prop_assert_eq!(last, Ok(ServerFinal::Verifier(key)));
        }
    }
}
