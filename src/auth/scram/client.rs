//! The client's side of SCRAM, towards Postgres, which is trusted no more than any peer.
//!
//! `begin` → [`SentClientFirst`] → [`Challenge`] → [`SentClientFinal`] → [`ServerProven`]. The keys come in at the
//! challenge: derived from a password, found in a [`super::KeyCache`], or learnt from the client's own login.

use super::super::secret_bytes::SecretBytes;
use super::super::{ClientHears, PlainText};
use super::attributes::MessageError;
use super::keys::{Derivation, Exchange, LoginKeys, ScramKeys, ScramParams, signature};
use super::messages::{self, Binding, ServerFinal, ServerFirst};

/// Why a login to Postgres by SCRAM failed. The texts are for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server's first message.
    #[error("malformed server-first message: {0}")]
    ServerFirst(#[source] MessageError),
    /// The server's last message.
    #[error("malformed server-final message: {0}")]
    ServerFinal(#[source] MessageError),
    /// The nonce is not ours followed by something of the server's.
    #[error("the server's nonce does not continue ours")]
    Nonce,
    /// The keys we have were made with another salt or iteration count than Postgres' secret.
    #[error("the user's SCRAM secret here differs from the one in Postgres")]
    OtherSecret,
    /// The server said `e=`.
    #[error("the server reports that the exchange failed")]
    Reported,
    /// The server does not know the user's secret: it is not the one we meant to reach.
    #[error("the server's signature is wrong")]
    Signature,
}

impl ClientError {
    /// What a client waiting for this login may be told.
    pub fn client_hears(self) -> ClientHears {
        match self {
            Self::ServerFirst(_)
            | Self::ServerFinal(_)
            | Self::Nonce
            | Self::OtherSecret
            | Self::Reported
            | Self::Signature => ClientHears::ServerLoginFailed,
        }
    }
}

/// Waiting for AuthenticationSASLContinue.
#[must_use]
pub struct SentClientFirst {
    binding: Binding,
    nonce: String,
}

/// The server's challenge, to be answered with keys.
#[must_use]
pub struct Challenge {
    binding: Binding,
    client_first_bare: String,
    server_first: Vec<u8>,
    nonce: String,
    params: ScramParams,
}

/// Waiting for AuthenticationSASLFinal.
#[must_use]
pub struct SentClientFinal {
    server_signature: SecretBytes,
}

/// The server has proven that it knows the user's secret. An AuthenticationOk before this is an impostor's.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct ServerProven(());

/// Starts an exchange; returns the data of SASLInitialResponse.
pub fn begin(binding: Binding) -> (SentClientFirst, String) {
    begin_with(binding, messages::random_nonce())
}

fn begin_with(binding: Binding, nonce: String) -> (SentClientFirst, String) {
    let message = format!("{}{}", binding.header(), messages::client_first_bare(&nonce));
    (SentClientFirst { binding, nonce }, message)
}

impl SentClientFirst {
    /// Reads server-first.
    ///
    /// # Errors
    /// When the message is malformed, out of our limits, or belongs to another exchange.
    pub fn server_first(self, message: &[u8]) -> Result<Challenge, ClientError> {
        let first = ServerFirst::parse(message).map_err(ClientError::ServerFirst)?;
        match first.nonce.strip_prefix(self.nonce.as_str()) {
            None | Some("") => return Err(ClientError::Nonce),
            Some(_) => {}
        }
        Ok(Challenge {
            binding: self.binding,
            client_first_bare: messages::client_first_bare(&self.nonce),
            server_first: message.to_vec(),
            nonce: first.nonce.to_owned(),
            params: first.params,
        })
    }
}

impl Challenge {
    /// What to derive to answer with a password.
    pub fn derivation(&self, password: &PlainText) -> Derivation {
        Derivation::new(password, &self.params)
    }

    /// Answers with the keys of [`Self::derivation`]; returns the data of SASLResponse.
    pub fn answer(self, keys: &ScramKeys) -> (SentClientFinal, String) {
        let without_proof = messages::client_final_without_proof(&self.binding, &self.nonce);
        let exchange = Exchange {
            client_first_bare: self.client_first_bare.as_bytes(),
            server_first: &self.server_first,
            client_final_without_proof: without_proof.as_bytes(),
        };
        let proof = keys.client_key.clone().xor(&signature(&keys.stored_key(), &exchange));
        let server_signature = signature(&keys.server_key, &exchange);
        let message = messages::client_final(&without_proof, &proof);
        (SentClientFinal { server_signature }, message)
    }

    /// Answers with keys learnt from the client's own login.
    ///
    /// # Errors
    /// [`ClientError::OtherSecret`] when they do not belong to Postgres' secret.
    pub fn answer_as_client(
        self,
        login: &LoginKeys,
    ) -> Result<(SentClientFinal, String), ClientError> {
        if self.params != login.params {
            return Err(ClientError::OtherSecret);
        }
        Ok(self.answer(&login.keys))
    }
}

impl SentClientFinal {
    /// Reads server-final and checks who sent it.
    ///
    /// # Errors
    /// When the message is malformed or proves nothing: the connection must not be used.
    pub fn server_final(self, message: &[u8]) -> Result<ServerProven, ClientError> {
        match ServerFinal::parse(message).map_err(ClientError::ServerFinal)? {
            ServerFinal::Verifier(signature) if signature == self.server_signature => {
                Ok(ServerProven(()))
            }
            ServerFinal::Verifier(_) => Err(ClientError::Signature),
            ServerFinal::Error => Err(ClientError::Reported),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::ParamsError;
    use super::*;

    /// An exchange recorded with PostgreSQL 15, which accepted it.
    const PASSWORD: &[u8] = b"correct horse, battery=staple";
    const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";
    const SERVER_FIRST: &str =
        "r=fyko+d2lbbFgONRv9qkxdawLjPxQWGpC0275+VIV8eQcvG4U,s=AyABtT/r5glMazNRQTav2A==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=fyko+d2lbbFgONRv9qkxdawLjPxQWGpC0275+VIV8eQcvG4U,p=j1VGlAxWJBfhVi1z13EjY9CeUPBEfWzDuMzlTUiEytk=";
    const SERVER_FINAL: &str = "v=C49i/xkXWog14Ti8o99TcQ7oP0nBJMLlne/gbDET03Y=";

    fn challenge(server_first: &str) -> Result<Challenge, ClientError> {
        let (client, client_first) = begin_with(Binding::Unsupported, NONCE.to_owned());
        assert_eq!(client_first, "n,,n=,r=fyko+d2lbbFgONRv9qkxdawL");
        client.server_first(server_first.as_bytes())
    }

    fn answered() -> SentClientFinal {
        let challenge = challenge(SERVER_FIRST).unwrap();
        let keys = challenge.derivation(&PlainText::new(PASSWORD)).run();
        let (client, client_final) = challenge.answer(&keys);
        assert_eq!(client_final, CLIENT_FINAL);
        client
    }

    #[test]
    fn answers_word_for_word_what_postgres_15_accepted_and_accepts_its_signature() {
        assert!(answered().server_final(SERVER_FINAL.as_bytes()).is_ok());
    }

    #[test]
    fn a_server_that_cannot_sign_is_refused() {
        let refused = |message: &str| answered().server_final(message.as_bytes()).unwrap_err();
        assert_eq!(refused(&SERVER_FINAL.replace("C49", "D49")), ClientError::Signature);
        assert_eq!(refused("e=other-error"), ClientError::Reported);
        assert_eq!(
            refused(&SERVER_FINAL[..20]),
            ClientError::ServerFinal(MessageError::BadValue(super::super::Attribute::Verifier))
        );
        assert_eq!(refused("e=x").client_hears(), ClientHears::ServerLoginFailed);
    }

    #[test]
    fn a_nonce_that_does_not_continue_ours_is_refused() {
        for nonce in ["fyko+d2lbbFgONRv9qkxdawL", "fyko+d2lbbFgONRv9qkxdaw", "fyko", "stranger"] {
            let message = format!("r={nonce},s=AyABtT/r5glMazNRQTav2A==,i=4096");
            assert_eq!(challenge(&message).err(), Some(ClientError::Nonce), "{nonce}");
        }
    }

    #[test]
    fn a_server_cannot_make_us_work_for_minutes_or_read_without_end() {
        let error = |message: String| challenge(&message).err();
        let refusal = |error| Some(ClientError::ServerFirst(error));
        assert_eq!(
            error(SERVER_FIRST.replace("4096", "2000000000")),
            refusal(MessageError::Params(ParamsError::Iterations))
        );
        assert_eq!(
            error(SERVER_FIRST.replace("jP", &"x".repeat(2000))),
            refusal(MessageError::TooLong)
        );
    }
}
