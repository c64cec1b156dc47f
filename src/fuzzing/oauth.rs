//! What a client says by `OAUTHBEARER` before anybody has proven anything: SASL's first message, the pairs in it, and the
//! token in those.

use std::sync::LazyLock;
use std::time::Duration;

use crate::auth::oauth::message::{self, Bearer};
use crate::auth::oauth::token;
use crate::config::TokenRules;
use crate::protocol::sasl::InitialResponse;

/// The public keys of RFC 7515, A.2 and A.3: the seeds have tokens that were signed with them, so that what comes behind
/// the signature is reached as well.
const KEYS: &str = r#"[
    { "kty": "RSA", "kid": "rsa", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" },
    { "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" }
]"#;

/// After the examples of the RFC have run out.
const NOW: u64 = 1_800_000_000;

static RULES: LazyLock<TokenRules> = LazyLock::new(|| TokenRules {
    issuer: "joe".to_owned(),
    keys: serde_json::from_str(KEYS).expect("keys"),
    audience: Vec::new(),
    scope: Vec::new(),
    user_claim: "iss".to_owned(),
    leeway: Duration::ZERO,
});

/// Nobody gets in by a token that nobody signed, and what is taken for one has the letters of one.
pub(super) fn oauth(input: &[u8]) {
    let data = match InitialResponse::parse(input) {
        Some(initial) => {
            let length = initial.mechanism.len() + 5 + initial.data.map_or(0, <[u8]>::len);
            assert_eq!(length, input.len());
            initial.data.unwrap_or_default()
        }
        None => input,
    };
    assert_eq!(message::acknowledgement(data).is_ok(), data == b"\x01");
    let Ok(Bearer::Token(token)) = message::bearer(data) else { return };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    assert!(!token.is_empty() && token.bytes().all(fits), "{token}");
    assert!(token::subject(token, &RULES, NOW).is_err(), "let in by {token}");
}
