//! The server's side of SCRAM, towards clients: three states, each transition taking the one before.
//!
//! `begin` → [`AwaitingClientFirst`] → [`AwaitingClientFinal`] → [`Accepted`]. Only the last holds the proof.

use std::sync::Arc;

use super::super::mock::Decoy;
use super::super::{Authenticated, ClientHears, Method, Refusal, Secret};
use super::attributes::MessageError;
use super::keys::{Derivation, Exchange, LoginKeys, ScramKeys, ScramParams, signature};
use super::messages::{self, Binding, BindingFlag, ClientFinal, ClientFirst};
use super::secret::ScramSecret;

/// Why an exchange ended without a proof. The texts are for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// The client's first message.
    #[error("malformed client-first message: {0}")]
    ClientFirst(#[source] MessageError),
    /// The client's last message.
    #[error("malformed client-final message: {0}")]
    ClientFinal(#[source] MessageError),
    /// The channel binding repeated is not the one given first.
    #[error("the channel binding does not match the first message")]
    Binding,
    /// The client could bind to the channel and was told that we cannot: somebody in between took our offer out.
    #[error("the client can bind to the channel but believes that it was not offered")]
    Downgrade,
    /// The mechanism and what client-first says of binding do not go together.
    #[error("the binding in the first message is not that of the mechanism")]
    Mechanism,
    /// The nonce is not the client's followed by ours.
    #[error("the nonce does not match")]
    Nonce,
    /// The exchange was in order and the user is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl ServerError {
    /// What the client may be told.
    pub fn client_hears(self) -> ClientHears {
        match self {
            Self::ClientFirst(_) | Self::ClientFinal(_) => {
                ClientHears::ProtocolViolation("malformed SCRAM message")
            }
            Self::Downgrade => {
                ClientHears::ProtocolViolation("SCRAM channel binding negotiation error")
            }
            Self::Mechanism => ClientHears::ProtocolViolation("malformed SCRAM message"),
            Self::Binding => ClientHears::ProtocolViolation("SCRAM channel binding check failed"),
            Self::Nonce => ClientHears::ProtocolViolation("invalid SCRAM response"),
            Self::Refused(refusal) => refusal.client_hears(),
        }
    }
}

/// What the client chose of what it was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// `SCRAM-SHA-256`, there being nothing else.
    Only,
    /// `SCRAM-SHA-256`, although binding was offered.
    Unbound,
    /// `SCRAM-SHA-256-PLUS`, with the hash of our certificate.
    Bound(&'a [u8]),
}

/// The result of [`begin`].
#[must_use]
pub enum Begin {
    /// The exchange can start.
    Ready(AwaitingClientFirst),
    /// The password is kept in clear: its keys must be derived first, or found in a [`super::KeyCache`].
    Derive(NeedsKeys),
}

/// An exchange that waits for the keys of the user's password.
///
/// While they are missing from the cache a known user's login takes longer than a stranger's. Deriving them when
/// the configuration is loaded leaves no such difference.
#[must_use]
pub struct NeedsKeys {
    user: Box<str>,
    params: ScramParams,
    derivation: Derivation,
}

/// Ready for SASLInitialResponse.
#[must_use]
pub struct AwaitingClientFirst {
    user: Box<str>,
    credential: Credential,
    nonce: String,
}

/// Our challenge is made; ready for SASLResponse.
#[must_use]
pub struct AwaitingClientFinal {
    user: Box<str>,
    credential: Credential,
    binding: Binding,
    client_first_bare: Vec<u8>,
    nonce: String,
    server_first: String,
}

/// The client has proven its name.
#[must_use]
pub struct Accepted {
    /// The proof.
    pub authenticated: Authenticated,
    /// The data of AuthenticationSASLFinal.
    pub server_final: String,
    /// For logging in to Postgres as this user when there is no password to do it with. Memory only.
    pub login_keys: LoginKeys,
}

enum Credential {
    Own(Arc<ScramSecret>),
    /// A stand-in, and why: nothing makes an exchange with it succeed.
    Mock(ScramSecret, Refusal),
}

impl Credential {
    fn secret(&self) -> &ScramSecret {
        match self {
            Self::Own(secret) => secret,
            Self::Mock(secret, _) => secret,
        }
    }
}

/// Starts an exchange with the user of the startup message. `None` for one that does not exist.
pub fn begin(user: &str, secret: Option<&Secret>, decoy: &Decoy) -> Begin {
    let mock = |refusal| Credential::Mock(decoy.scram_secret(user), refusal);
    let credential = match secret {
        Some(Secret::Scram(secret)) => Credential::Own(Arc::clone(secret)),
        Some(Secret::Plain(password)) => {
            let params = decoy.params(user);
            let derivation = Derivation::new(password, &params);
            return Begin::Derive(NeedsKeys { user: user.into(), params, derivation });
        }
        Some(Secret::Md5(_)) => mock(Refusal::UnsuitableSecret),
        None => mock(Refusal::UnknownUser),
    };
    Begin::Ready(AwaitingClientFirst::new(user.into(), credential))
}

impl NeedsKeys {
    /// What to derive.
    pub fn derivation(&self) -> &Derivation {
        &self.derivation
    }

    /// Starts the exchange with the keys of [`Self::derivation`].
    pub fn with_keys(self, keys: &ScramKeys) -> AwaitingClientFirst {
        let secret = ScramSecret::from_keys(self.params, keys);
        AwaitingClientFirst::new(self.user, Credential::Own(Arc::new(secret)))
    }
}

impl AwaitingClientFirst {
    fn new(user: Box<str>, credential: Credential) -> Self {
        Self { user, credential, nonce: messages::random_nonce() }
    }

    /// Reads client-first and returns the data of AuthenticationSASLContinue.
    ///
    /// # Errors
    /// When the message is malformed or asks for what was not offered.
    pub fn client_first(
        self,
        chosen: Chosen<'_>,
        message: &[u8],
    ) -> Result<(AwaitingClientFinal, String), ServerError> {
        let first = ClientFirst::parse(message).map_err(ServerError::ClientFirst)?;
        let binding = agree(chosen, first.binding)?;
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let server_first = messages::server_first(&nonce, self.credential.secret().params());
        let next = AwaitingClientFinal {
            user: self.user,
            credential: self.credential,
            binding,
            client_first_bare: first.bare.to_vec(),
            nonce,
            server_first: server_first.clone(),
        };
        Ok((next, server_first))
    }
}

impl AwaitingClientFinal {
    /// Reads client-final and decides.
    ///
    /// # Errors
    /// When the message is malformed, belongs to another exchange, or proves nothing.
    pub fn client_final(self, message: &[u8]) -> Result<Accepted, ServerError> {
        let last = ClientFinal::parse(message).map_err(ServerError::ClientFinal)?;
        if last.nonce != self.nonce {
            return Err(ServerError::Nonce);
        }
        if last.binding != self.binding.repeated().as_bytes() {
            return Err(ServerError::Binding);
        }
        let secret = self.credential.secret();
        let exchange = Exchange {
            client_first_bare: &self.client_first_bare,
            server_first: self.server_first.as_bytes(),
            client_final_without_proof: last.without_proof,
        };
        let keys = ScramKeys {
            client_key: last.proof.xor(&signature(&secret.stored_key, &exchange)),
            server_key: secret.server_key.clone(),
        };
        let proven = secret.fits(&keys);
        // The order counts: a stand-in costs the same work before it is refused.
        match &self.credential {
            Credential::Mock(_, refusal) => return Err((*refusal).into()),
            Credential::Own(_) if !proven => return Err(Refusal::WrongPassword.into()),
            Credential::Own(_) => {}
        }
        Ok(Accepted {
            authenticated: Authenticated::new(&self.user, Method::Scram),
            server_final: messages::server_final(&signature(&secret.server_key, &exchange)),
            login_keys: LoginKeys { params: secret.params().clone(), keys },
        })
    }
}

/// What client-final must repeat (`read_client_first_message`, `src/backend/libpq/auth-scram.c`).
fn agree(chosen: Chosen<'_>, flag: BindingFlag) -> Result<Binding, ServerError> {
    match (chosen, flag) {
        (Chosen::Bound(end_point), BindingFlag::EndPoint) => {
            Ok(Binding::EndPoint(end_point.into()))
        }
        (Chosen::Bound(_), BindingFlag::Unsupported | BindingFlag::NotOffered)
        | (Chosen::Only | Chosen::Unbound, BindingFlag::EndPoint) => Err(ServerError::Mechanism),
        (Chosen::Unbound, BindingFlag::NotOffered) => Err(ServerError::Downgrade),
        (Chosen::Only, BindingFlag::NotOffered) => Ok(Binding::NotOffered),
        (Chosen::Only | Chosen::Unbound, BindingFlag::Unsupported) => Ok(Binding::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::PlainText;
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    /// The example of RFC 7677 section 3.
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn rfc_secret() -> ScramSecret {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let params = ScramParams::new(&salt, 4096).unwrap();
        let keys = Derivation::new(&PlainText::new(b"pencil"), &params).run();
        ScramSecret::from_keys(params, &keys)
    }

    fn challenged(credential: Credential, client_first: &str) -> AwaitingClientFinal {
        let nonce = SERVER_NONCE.to_owned();
        let start = AwaitingClientFirst { user: "user".into(), credential, nonce };
        let (server, server_first) =
            start.client_first(Chosen::Only, client_first.as_bytes()).unwrap();
        assert_eq!(server_first, SERVER_FIRST);
        server
    }

    #[test]
    fn the_exchange_of_rfc_7677_succeeds_word_for_word() {
        let server = challenged(Credential::Own(Arc::new(rfc_secret())), CLIENT_FIRST);
        let accepted = server.client_final(CLIENT_FINAL.as_bytes()).unwrap();
        assert_eq!(accepted.server_final, SERVER_FINAL);
        assert_eq!(accepted.authenticated, Authenticated::new("user", Method::Scram));
    }

    #[test]
    fn a_stand_in_refuses_even_a_proof_that_is_right() {
        let mock = Credential::Mock(rfc_secret(), Refusal::UnknownUser);
        let refused = challenged(mock, CLIENT_FIRST).client_final(CLIENT_FINAL.as_bytes()).err();
        assert_eq!(refused, Some(ServerError::Refused(Refusal::UnknownUser)));
    }

    #[test]
    fn a_changed_binding_flag_is_noticed() {
        let credential = Credential::Own(Arc::new(rfc_secret()));
        let server = challenged(credential, &CLIENT_FIRST.replacen('n', "y", 1));
        let refused = server.client_final(CLIENT_FINAL.as_bytes()).err();
        assert_eq!(refused, Some(ServerError::Binding));
    }

    #[test]
    fn a_nonce_that_lacks_our_part_is_refused() {
        let server = challenged(Credential::Own(Arc::new(rfc_secret())), CLIENT_FIRST);
        let refused = server.client_final(CLIENT_FINAL.replace(SERVER_NONCE, "").as_bytes()).err();
        assert_eq!(refused, Some(ServerError::Nonce));
    }

    #[test]
    fn the_client_hears_of_its_own_mistakes_only() {
        let hears = |error: ServerError| error.client_hears();
        let malformed = ClientHears::ProtocolViolation("malformed SCRAM message");
        assert_eq!(hears(ServerError::ClientFirst(MessageError::ZeroByte)), malformed);
        assert_eq!(hears(ServerError::ClientFinal(MessageError::TooLong)), malformed);
        let refused = ServerError::Refused(Refusal::UnknownUser);
        assert_eq!(hears(refused), ClientHears::PasswordFailed);
    }
}
