//! Tests of channel binding: our two sides against each other and against the client of `postgres-protocol`.

use std::sync::Arc;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::super::mock::Decoy;
use super::super::{PlainText, Secret, SecretKind};
use super::client;
use super::messages::Binding;
use super::server::{self, Accepted, AwaitingClientFirst, Begin, Chosen, ServerError};
use super::{Derivation, MECHANISM, MECHANISM_PLUS, ScramParams, ScramSecret};

const PASSWORD: &[u8] = b"hunter2";
const OURS: &[u8] = b"the hash of our certificate";
const THEIRS: &[u8] = b"the hash of another one";

fn started() -> AwaitingClientFirst {
    let params = ScramParams::new(b"salt", 2).unwrap();
    let keys = Derivation::new(&PlainText::new(PASSWORD), &params).run();
    let secret = Secret::Scram(Arc::new(ScramSecret::from_keys(params, &keys)));
    match server::begin("app", Some(&secret), &Decoy::new(SecretKind::Scram)) {
        Begin::Ready(server) => server,
        Begin::Derive(_) => panic!("the secret holds the keys"),
    }
}

/// The client of `postgres-protocol`, which binds as told and chooses as told.
fn peer(binding: ChannelBinding, chosen: Chosen<'_>) -> Result<Accepted, ServerError> {
    let mut peer = ScramSha256::new(PASSWORD, binding);
    let (server, first) = started().client_first(chosen, peer.message())?;
    peer.update(first.as_bytes()).unwrap();
    let accepted = server.client_final(peer.message())?;
    peer.finish(accepted.server_final.as_bytes()).unwrap();
    Ok(accepted)
}

fn end_point(hash: &[u8]) -> ChannelBinding {
    ChannelBinding::tls_server_end_point(hash.to_vec())
}

#[test]
fn another_implementation_binds_to_our_certificate() {
    assert!(peer(end_point(OURS), Chosen::Bound(OURS)).is_ok());
    assert!(peer(ChannelBinding::unrequested(), Chosen::Only).is_ok());
    assert!(peer(ChannelBinding::unsupported(), Chosen::Unbound).is_ok());
}

#[test]
fn who_sees_another_certificate_is_refused() {
    let refused = peer(end_point(THEIRS), Chosen::Bound(OURS)).err();
    assert_eq!(refused, Some(ServerError::Binding));
}

#[test]
fn an_offer_taken_out_on_the_way_is_noticed() {
    let refused = peer(ChannelBinding::unrequested(), Chosen::Unbound).err();
    assert_eq!(refused, Some(ServerError::Downgrade));
}

#[test]
fn mechanism_and_binding_belong_together() {
    for (binding, chosen) in [
        (ChannelBinding::unsupported(), Chosen::Bound(OURS)),
        (ChannelBinding::unrequested(), Chosen::Bound(OURS)),
        (end_point(OURS), Chosen::Only),
        (end_point(OURS), Chosen::Unbound),
    ] {
        assert_eq!(peer(binding, chosen).err(), Some(ServerError::Mechanism), "{chosen:?}");
    }
}

#[test]
fn our_client_binds_where_it_can() {
    let offered = [MECHANISM_PLUS, MECHANISM];
    let choose =
        |hash: Option<&[u8]>, offered: &[&str]| Binding::choose(hash.map(Box::from), offered);
    assert_eq!(choose(None, &offered).mechanism(), MECHANISM);
    assert_eq!(choose(Some(OURS), &offered[1..]), Binding::NotOffered);
    for (chosen, seen, is_accepted) in [
        (Chosen::Bound(OURS), OURS, true),
        (Chosen::Bound(OURS), THEIRS, false),
        // Another took the better mechanism out of the offer.
        (Chosen::Unbound, OURS, false),
    ] {
        let names = if chosen == Chosen::Unbound { &offered[1..] } else { &offered[..] };
        let (client, first) = client::begin(choose(Some(seen), names));
        let Ok((server, first)) = started().client_first(chosen, first.as_bytes()) else {
            assert!(!is_accepted);
            continue;
        };
        let challenge = client.server_first(first.as_bytes()).unwrap();
        let keys = challenge.derivation(&PlainText::new(PASSWORD)).run();
        let (_, last) = challenge.answer(&keys);
        assert_eq!(server.client_final(last.as_bytes()).is_ok(), is_accepted);
    }
}
