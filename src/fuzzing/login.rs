//! What is read before anybody has proven anything: startup packets, SASL messages of clients and of servers, and the
//! secrets they are checked against.

use std::sync::LazyLock;

use super::bytes::Bytes;
use crate::auth::mock::Decoy;
use crate::auth::scram::server::{self, Begin, Chosen};
use crate::auth::scram::{Binding, Derivation, ScramKeys, client};
use crate::auth::{PlainText, Secret, SecretKind, md5};
use crate::protocol::frontend::{write_cancel, write_startup};
use crate::protocol::startup::{self, FirstPacket, PROTOCOL_3_0};

/// Stands for the nonce of the other side in an input: nobody guesses it.
const NONCE: &[u8] = b"%N";

/// The secret of a password that no input holds.
const STORED: &str = "SCRAM-SHA-256$4096:AyABtT/r5glMazNRQTav2A==$\
    RiAnnREtuOD7dbMsqZ2vm7QDpkM4EUpyN9p5Yor7/48=:ncQK7FGeZa6jYBGmhr3P43bCxWl24JUj2vs4wATmfBY=";

struct Known {
    secret: Secret,
    plain: Secret,
    keys: ScramKeys,
    decoy: Decoy,
}

/// Made once: a derivation takes milliseconds.
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let decoy = Decoy::new(SecretKind::Scram);
    let plain = Secret::parse("a password that no input holds").expect("a password");
    let Begin::Derive(needs) = server::begin("ann", Some(&plain), &decoy) else {
        unreachable!("a password in clear is derived")
    };
    let keys = Derivation::run(needs.derivation());
    Known { secret: Secret::parse(STORED).expect("a secret"), plain, keys, decoy }
});

/// A first packet either is refused or says the same when it is written again.
pub(super) fn startup(input: &[u8]) {
    if let Some(first) = input.first_chunk::<4>() {
        let length = startup::packet_length(*first);
        assert!(
            length.is_err() || length.is_ok_and(|l| (8..=startup::MAX_STARTUP_PACKET).contains(&l))
        );
    }
    let input = input.get(..startup::MAX_STARTUP_PACKET - 4).unwrap_or(input);
    let mut again = Vec::new();
    match startup::parse(input) {
        Ok(FirstPacket::Startup(packet)) => {
            assert!(!packet.user.is_empty() && !packet.database.is_empty());
            let texts = packet.parameters.iter().map(|(name, value)| name.len() + value.len());
            let unknown = packet.unknown_options.iter().map(String::len);
            let held = packet.user.len() + texts.chain(unknown).sum::<usize>();
            assert!(held <= input.len(), "{held} bytes are kept of {}", input.len());
            let named = [("user", &*packet.user), ("database", &*packet.database)];
            let others = packet.parameters.iter().map(|(name, value)| (&**name, &**value));
            // What came within `options` has a name that a packet cannot hold, or another meaning there.
            let special = |name: &str| {
                matches!(name, "user" | "database" | "replication" | "options" | "")
                    || name.starts_with("_pq_.")
            };
            if packet.parameters.iter().any(|(name, _)| special(name)) {
                return;
            }
            let parameters: Vec<_> = named.into_iter().chain(others).collect();
            write_startup(&mut again, PROTOCOL_3_0, &parameters);
            let Ok(FirstPacket::Startup(reread)) = startup::parse(&again[4..]) else {
                panic!("what was read cannot be read again: {packet:?}")
            };
            assert_eq!((&reread.user, &reread.database), (&packet.user, &packet.database));
            assert_eq!(reread.parameters, packet.parameters);
        }
        Ok(FirstPacket::CancelRequest { pid, secret }) => {
            write_cancel(&mut again, pid, &secret);
            assert_eq!(&again[4..], input);
        }
        Ok(FirstPacket::SslRequest | FirstPacket::GssEncRequest) | Err(_) => {}
    }
}

/// A message of an input, with the nonce of the other side where it asks for it.
fn with_nonce(message: &[u8], nonce: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = message;
    while let Some(at) = memchr::memmem::find(rest, NONCE) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(nonce.as_bytes());
        rest = &rest[at + NONCE.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// The value of the attribute `r`.
fn nonce_of(message: &str) -> &str {
    let value = message.split_once("r=").map_or("", |(_, value)| value);
    value.split(',').next().unwrap_or_default()
}

/// Nobody without the password gets in, whatever is said. The input: what was chosen, a line of client-first, and
/// client-final.
pub(super) fn scram_server(input: &[u8]) {
    let mut input = Bytes(input);
    let choice = input.byte();
    let known = &*KNOWN;
    let secret = match choice % 3 {
        0 => Some(&known.secret),
        1 => Some(&known.plain),
        _ => None,
    };
    let start = match server::begin("ann", secret, &known.decoy) {
        Begin::Ready(start) => start,
        Begin::Derive(needs) => needs.with_keys(&known.keys),
    };
    let chosen = match choice / 3 % 3 {
        0 => Chosen::Only,
        1 => Chosen::Unbound,
        _ => Chosen::Bound(b"the hash of a certificate"),
    };
    let first = input.line();
    if let Ok((challenged, challenge)) = start.client_first(chosen, first) {
        assert!(challenge.len() < first.len() + 200, "{challenge}");
        let last = with_nonce(input.0, nonce_of(&challenge));
        assert!(challenged.client_final(&last).is_err(), "accepted without a password");
    }
}

/// No server proves what it does not know, whatever it says. The input: a line of server-first, and server-final.
pub(super) fn scram_client(input: &[u8]) {
    let mut input = Bytes(input);
    let binding = match input.byte() % 3 {
        0 => Binding::Unsupported,
        1 => Binding::choose(Some((*b"the hash of a certificate").into()), &["SCRAM-SHA-256"]),
        _ => Binding::choose(Some((*b"the hash").into()), &["SCRAM-SHA-256-PLUS"]),
    };
    let (sent, first) = client::begin(binding);
    let challenge = with_nonce(input.line(), nonce_of(&first));
    if let Ok(challenge) = sent.server_first(&challenge) {
        let (sent, answer) = challenge.answer(&KNOWN.keys);
        assert!(answer.len() < 8 * 1024, "{} bytes", answer.len());
        assert!(sent.server_final(input.0).is_err(), "believed without a secret");
    }
}

/// Any text is a secret or is not; none panics, and no answer to a challenge is right by chance.
pub(super) fn secret(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(secret) = Secret::parse(text) else { return };
    let salt = [1, 2, 3, 4];
    let answer = md5::answer("ann", &secret, salt);
    assert_eq!(answer.is_none(), secret.kind() == SecretKind::Scram);
    if let Some(answer) = answer {
        let decoy = &KNOWN.decoy;
        assert!(md5::verify("ann", &answer, salt, Some(&secret), decoy).is_ok());
        assert!(md5::verify("ann", &answer, salt, None, decoy).is_err());
    }
    let guess = PlainText::new(input);
    assert!(md5::verify("ann", &guess, salt, Some(&secret), &KNOWN.decoy).is_err());
}
