//! Whole exchanges: our two sides with each other, and our server with an independent client.

use std::sync::Arc;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use proptest::prelude::*;

use super::super::mock::Decoy;
use super::super::{ClientHears, PlainText, Refusal, Secret, SecretKind};
use super::client::{self, ClientError, ServerProven};
use super::server::{self, Accepted, AwaitingClientFirst, Begin, Chosen, ServerError};
use super::{Binding, Derivation, KeyCache, ScramParams, ScramSecret};

/// From PostgreSQL 15.
const PASSWORD: &str = "correct horse, battery=staple";
const ROLPASSWORD: &str = "SCRAM-SHA-256$4096:AyABtT/r5glMazNRQTav2A==$/wl3z6l5sgnqBGRWKxjZvNl1sG6YGP81BXvkH8s8h84=:A5fYhxi/YeVS80FdgFpGDZ+ppbIkBdAmdmuuzM5WqtY=";

fn decoy() -> Decoy {
    Decoy::new(SecretKind::Scram)
}

fn started(secret: Option<&Secret>) -> AwaitingClientFirst {
    match server::begin("alice", secret, &decoy()) {
        Begin::Ready(ready) => ready,
        Begin::Derive(pending) => {
            let keys = pending.derivation().run();
            pending.with_keys(&keys)
        }
    }
}

/// A secret of few iterations: what is tested does not depend on their number.
fn quick_secret(password: &[u8]) -> Secret {
    let params = ScramParams::new(b"some salt", 2).unwrap();
    let keys = Derivation::new(&PlainText::new(password), &params).run();
    Secret::Scram(Arc::new(ScramSecret::from_keys(params, &keys)))
}

/// Logs in with our client; `spoil` may change the messages in flight, counted from 0.
fn exchange(
    secret: Option<&Secret>,
    password: &[u8],
    mut spoil: impl FnMut(usize, &mut Vec<u8>),
) -> Result<Accepted, ServerError> {
    let mut sent = |number, message: String| {
        let mut bytes = message.into_bytes();
        spoil(number, &mut bytes);
        bytes
    };
    let (client, client_first) = client::begin(Binding::Unsupported);
    let (server, server_first) =
        started(secret).client_first(Chosen::Only, &sent(0, client_first))?;
    let Ok(challenge) = client.server_first(&sent(1, server_first)) else {
        return Err(Refusal::WrongPassword.into());
    };
    let keys = challenge.derivation(&PlainText::new(password)).run();
    let (client, client_final) = challenge.answer(&keys);
    let accepted = server.client_final(&sent(2, client_final))?;
    let _: ServerProven = client.server_final(accepted.server_final.as_bytes()).unwrap();
    Ok(accepted)
}

/// Logs in with the client of postgres-protocol.
fn peer_exchange(secret: Option<&Secret>, password: &[u8]) -> Result<Accepted, ServerError> {
    let mut peer = ScramSha256::new(password, ChannelBinding::unsupported());
    let (server, server_first) = started(secret).client_first(Chosen::Only, peer.message())?;
    peer.update(server_first.as_bytes()).unwrap();
    let accepted = server.client_final(peer.message())?;
    peer.finish(accepted.server_final.as_bytes()).unwrap();
    Ok(accepted)
}

fn outcome(result: Result<Accepted, ServerError>) -> Result<String, ServerError> {
    result.map(|accepted| accepted.authenticated.user().to_owned())
}

const WRONG: Result<String, ServerError> = Err(ServerError::Refused(Refusal::WrongPassword));

#[test]
fn an_independent_client_logs_in_with_a_secret_of_postgres_15_and_with_a_plain_one() {
    for text in [ROLPASSWORD, PASSWORD] {
        let secret = Secret::parse(text).unwrap();
        let login = |password: &str| outcome(peer_exchange(Some(&secret), password.as_bytes()));
        assert_eq!(login(PASSWORD), Ok("alice".to_owned()), "{secret:?}");
        assert_eq!(login("correct horse"), WRONG, "{secret:?}");
    }
}

#[test]
fn a_client_that_could_bind_but_was_not_offered_it_logs_in() {
    let mut peer = ScramSha256::new(b"hunter2", ChannelBinding::unrequested());
    assert!(peer.message().starts_with(b"y,,"));
    let (server, server_first) = started(Some(&quick_secret(b"hunter2")))
        .client_first(Chosen::Only, peer.message())
        .unwrap();
    peer.update(server_first.as_bytes()).unwrap();
    let accepted = server.client_final(peer.message()).unwrap();
    peer.finish(accepted.server_final.as_bytes()).unwrap();
}

#[test]
fn unknown_users_and_md5_secrets_fail_at_the_end_and_sound_like_a_wrong_password() {
    let md5 = Secret::parse("md50d1e53368e9217b1a97044443b0ceeaf").unwrap();
    for (secret, reason) in [(None, Refusal::UnknownUser), (Some(&md5), Refusal::UnsuitableSecret)]
    {
        let refused = peer_exchange(secret, b"hunter2").err().unwrap();
        assert_eq!(refused, ServerError::Refused(reason));
        assert_eq!(refused.client_hears(), ClientHears::PasswordFailed);
    }
}

#[test]
fn a_stranger_is_shown_the_same_salt_each_time_and_the_one_a_plain_user_would_have() {
    let decoy = decoy();
    let plain = Secret::parse("hunter2").unwrap();
    let challenge = |secret: Option<&Secret>| {
        let ready = match server::begin("alice", secret, &decoy) {
            Begin::Ready(ready) => ready,
            Begin::Derive(pending) => {
                let keys = pending.derivation().run();
                pending.with_keys(&keys)
            }
        };
        let (_, server_first) = ready.client_first(Chosen::Only, b"n,,n=,r=abc").unwrap();
        server_first.split_once(',').unwrap().1.to_owned()
    };
    let shown = challenge(None);
    assert!(shown.ends_with(",i=4096"), "{shown}");
    assert_eq!(challenge(None), shown);
    assert_eq!(challenge(Some(&plain)), shown);
}

#[test]
fn keys_learnt_from_a_login_log_in_to_a_server_with_the_same_secret_only() {
    let secret = quick_secret(b"hunter2");
    let learnt = exchange(Some(&secret), b"hunter2", |_, _| {}).unwrap().login_keys;
    let login = |upstream: &Secret| {
        let (client, client_first) = client::begin(Binding::Unsupported);
        let (server, server_first) =
            started(Some(upstream)).client_first(Chosen::Only, client_first.as_bytes()).unwrap();
        let challenge = client.server_first(server_first.as_bytes()).unwrap();
        let (client, client_final) = challenge.answer_as_client(&learnt)?;
        let server_final = server.client_final(client_final.as_bytes()).unwrap().server_final;
        client.server_final(server_final.as_bytes())
    };
    assert!(login(&secret).is_ok());
    assert_eq!(login(&Secret::parse(ROLPASSWORD).unwrap()), Err(ClientError::OtherSecret));
}

#[test]
fn one_cache_serves_repeated_logins_to_the_same_server() {
    let mut cache = KeyCache::new(super::DEFAULT_CAPACITY);
    let secret = quick_secret(b"hunter2");
    let password = PlainText::new(b"hunter2");
    let mut hits = Vec::new();
    for _ in 0..3 {
        let (client, client_first) = client::begin(Binding::Unsupported);
        let (server, server_first) =
            started(Some(&secret)).client_first(Chosen::Only, client_first.as_bytes()).unwrap();
        let challenge = client.server_first(server_first.as_bytes()).unwrap();
        let derivation = challenge.derivation(&password);
        let cached = cache.get(&derivation);
        hits.push(cached.is_some());
        let keys = cached.unwrap_or_else(|| derivation.run());
        cache.insert(&derivation, keys.clone());
        assert!(server.client_final(challenge.answer(&keys).1.as_bytes()).is_ok());
    }
    assert_eq!(hits, [false, true, true]);
}

#[test]
fn a_replayed_exchange_is_refused_for_its_nonce() {
    let secret = quick_secret(b"hunter2");
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let record = |number, message: &mut Vec<u8>| match number {
        0 => first.clone_from(message),
        2 => last.clone_from(message),
        _ => {}
    };
    assert!(exchange(Some(&secret), b"hunter2", record).is_ok());
    let (server, _) = started(Some(&secret)).client_first(Chosen::Only, &first).unwrap();
    assert_eq!(server.client_final(&last).err(), Some(ServerError::Nonce));
}

proptest! {
    #[test]
    fn any_password_logs_in_and_any_other_does_not(
        password in prop::collection::vec(any::<u8>(), 1..40),
        other in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        prop_assume!(password != other);
        let secret = quick_secret(&password);
        let login = |password: &[u8]| outcome(exchange(Some(&secret), password, |_, _| {}));
        prop_assert_eq!(login(&password), Ok("alice".to_owned()));
        prop_assert_eq!(login(&other), WRONG);
    }

    #[test]
    fn an_independent_client_agrees_on_any_text(password in "\\PC{1,30}") {
        let secret = quick_secret(password.as_bytes());
        prop_assert!(peer_exchange(Some(&secret), password.as_bytes()).is_ok());
    }

    #[test]
    fn no_message_can_be_changed_in_flight(
        number in 0..3usize, at: prop::sample::Index, change in 1..=255u8,
    ) {
        let secret = quick_secret(b"hunter2");
        let result = exchange(Some(&secret), b"hunter2", |current, message| {
            if current == number {
                let at = at.index(message.len());
                message[at] ^= change;
            }
        });
        prop_assert!(result.is_err());
    }

    #[test]
    fn no_message_can_be_cut_short(number in 0..3usize, at: prop::sample::Index) {
        let secret = quick_secret(b"hunter2");
        let result = exchange(Some(&secret), b"hunter2", |current, message| {
            if current == number {
                message.truncate(at.index(message.len()));
            }
        });
        prop_assert!(result.is_err());
    }
}
