//! Asking a client for a token (`OAUTHBEARER`), in the order of PostgreSQL 18 (`oauth_exchange`,
//! src/backend/libpq/auth-oauth.c).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::info;
use zeroize::Zeroizing;

use super::credentials::{Asking, CredentialError, code};
use crate::auth::oauth::message::{self, Bearer, Malformed, Unfit};
use crate::auth::oauth::token::{TokenError, subject};
use crate::auth::oauth::{MECHANISM, refusal};
use crate::auth::{Authenticated, ClientHears};
use crate::config::TokenRules;
use crate::config::hba::Terms;
use crate::net::framed::ReadError;
use crate::protocol::sasl::InitialResponse;
use crate::server::derive::aside;

/// The longest message: what Postgres takes (`PG_MAX_AUTH_TOKEN_LENGTH`, src/include/libpq/auth.h).
const MESSAGE_LIMIT: usize = 65_535;

/// Why a token did not let a client in. The texts are for the log, and hold nothing of a token but whom it is for.
#[derive(Debug, thiserror::Error)]
pub enum BearerError {
    /// A token in clear would cross a network.
    #[error("oauth is for clients on this machine or with TLS")]
    Remote,
    /// The message is not as the mechanism has it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The client asked where to get a token.
    #[error("the client has no token yet")]
    NoToken,
    /// It is no token.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The token is not taken.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It is somebody else's.
    #[error("the token was issued to {0:?}, who may not log in as this user")]
    OtherUser(Box<str>),
}

impl BearerError {
    /// What the client may hear; `None` where that is said elsewhere.
    pub(super) fn client_hears(&self) -> Option<ClientHears> {
        match self {
            Self::Remote => None,
            Self::Malformed(malformed) => Some(malformed.client_hears()),
            Self::NoToken | Self::Unfit(_) | Self::Token(_) | Self::OtherUser(_) => {
                Some(ClientHears::TokenFailed)
            }
        }
    }
}

impl Asking<'_> {
    /// By a token. Whoever brings none, or a bad one, hears where to get one, whatever is wrong with his.
    pub(super) async fn by_token(
        &mut self,
        terms: &Terms<'_>,
    ) -> Result<Authenticated, CredentialError> {
        if !self.channel.is_private(self.address) {
            return Err(BearerError::Remote.into());
        }
        let first = self.first_words().await?;
        // As they are now: the client may have waited here for longer than a key was good for. Without any, nobody is.
        let config = self.shared.pools.config();
        let rules = config.token_rules.as_ref().ok_or(BearerError::NoToken)?;
        match self.proven(first, terms, rules).await {
            Ok(authenticated) => Ok(authenticated),
            Err(CredentialError::Bearer(error @ BearerError::Malformed(_))) => Err(error.into()),
            Err(CredentialError::Bearer(error)) => {
                self.say(code::SASL_CONTINUE, refusal(rules).as_bytes()).await?;
                match self.read_message(MESSAGE_LIMIT).await {
                    Ok(answer) if message::acknowledgement(&answer).is_ok() => {}
                    // Who goes without a word was refused all the same, and the log says why.
                    Err(CredentialError::Read(ReadError::Closed | ReadError::Io(_))) => {}
                    other => {
                        info!(address = %self.address, reason = %error, "token refused");
                        message::acknowledgement(&other?).map_err(BearerError::from)?;
                    }
                }
                Err(error.into())
            }
            Err(other) => Err(other),
        }
    }

    /// What the client says by the mechanism, at once or when it is asked to.
    async fn first_words(&mut self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        self.say(code::SASL, &[MECHANISM.as_bytes(), &[0, 0]].concat()).await?;
        let body = self.read_message(MESSAGE_LIMIT).await?;
        let initial = InitialResponse::parse(&body).ok_or(CredentialError::Sasl)?;
        if initial.mechanism != MECHANISM.as_bytes() {
            return Err(CredentialError::Sasl);
        }
        if let Some(data) = initial.data {
            return Ok(Zeroizing::new(data.to_vec()));
        }
        self.say(code::SASL_CONTINUE, &[]).await?;
        self.read_message(MESSAGE_LIMIT).await
    }

    async fn proven(
        &self,
        first: Zeroizing<Vec<u8>>,
        terms: &Terms<'_>,
        rules: &Arc<TokenRules>,
    ) -> Result<Authenticated, CredentialError> {
        let token = match message::bearer(&first).map_err(BearerError::from)? {
            Bearer::Token(token) => Zeroizing::new(token.to_owned()),
            Bearer::Nothing => return Err(BearerError::NoToken.into()),
            Bearer::Unfit(unfit) => return Err(BearerError::Unfit(unfit).into()),
        };
        let rules = Arc::clone(rules);
        let now = seconds(SystemTime::now());
        // A signature takes up to a millisecond, and strangers choose how many there are.
        let check = move || subject(&token, &rules, now);
        let name = aside(check, &self.shared.pools.logins).await?.map_err(BearerError::from)?;
        if terms.allow(&name, &self.startup.user) {
            Ok(Authenticated::by_token(&self.startup.user))
        } else {
            Err(BearerError::OtherUser(name).into())
        }
    }
}

/// Since 1970. By a clock that is before it, every token has run out.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_makes_no_sense_lets_nobody_in() {
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_millis(2_900)), 2);
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_secs(1)), u64::MAX);
    }
}
