//! `[oauth]` and what needs it: which issuer, whose keys, and which faults are told.

use std::time::Duration;

use super::super::hba::{Caller, Method, Origin};
use super::super::{AuthType, Warning};
use super::{Folder, fault, toml};

/// A public key, of RFC 8037, A.2.
const KEYS: &str = r#"{ "keys": [{ "kty": "OKP", "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] }"#;

/// A configuration with keys, and more of it.
fn text(folder: &Folder, more: &str) -> String {
    let keys = folder.write("keys.json", KEYS);
    format!(
        "[oauth]\nissuer = \"https://id.example.com\"\njwks_file = \"{}\"\nscope = \"openid db\"\n{more}",
        keys.display()
    )
}

#[test]
fn an_issuer_and_its_keys_make_rules_for_tokens() {
    let folder = Folder::new();
    let more = "audience = \"db, pool\"\nuser_claim = \"email\"\nleeway = \"5s\"\n";
    let config = folder.load(text(&folder, more), &[]).unwrap();
    let rules = config.token_rules.unwrap();
    assert_eq!(rules.discovery(), "https://id.example.com/.well-known/openid-configuration");
    assert_eq!((rules.keys.len(), rules.leeway), (1, Duration::from_secs(5)));
    assert_eq!(
        (&*rules.audience[1], &*rules.scope[1], &*rules.user_claim),
        ("pool", "db", "email")
    );
    assert!(toml("").token_rules.is_none());
}

#[test]
fn tokens_are_asked_for_only_where_they_can_be_checked() {
    let needs = "auth.auth_type: needs issuer and jwks_file in [oauth]";
    assert_eq!(fault("[auth]\nauth_type = \"oauth\""), needs);
    let half = "[oauth]\nissuer = \"https://id.example.com\"";
    assert_eq!(fault(half), "oauth.issuer: needs jwks_file beside it");
    let half = "[oauth]\njwks_file = \"/nowhere\"";
    assert_eq!(fault(half), "oauth.jwks_file: needs issuer beside it");
    let missing = "[oauth]\nissuer = \"https://id.example.com\"\njwks_file = \"/nowhere\"\n";
    let takes_all = "needs audience or scope beside it, or every token of the issuer lets in";
    assert_eq!(fault(missing), format!("oauth.issuer: {takes_all}"));
    let missing = &format!("{missing}audience = \"db\"");
    assert!(fault(missing).contains("/nowhere: cannot be read"), "{}", fault(missing));
    let folder = Folder::new();
    let more = "[auth]\nauth_type = \"oauth\"\n[listen]\nlisten_addr = \"10.0.0.1\"\n";
    let config = folder.load(text(&folder, more), &[]).unwrap();
    assert_eq!(config.auth.auth_type, AuthType::OAuth);
    let address = "10.0.0.1".parse().unwrap();
    assert_eq!(config.warnings, [Warning::RefusedOnNetwork("oauth", address)]);
}

#[test]
fn a_file_that_is_no_set_of_keys_is_a_fault_of_the_file() {
    let folder = Folder::new();
    let text = text(&folder, "");
    for (keys, expected) in [
        ("{", "keys.json: line 1, column 1: no set of keys"),
        ("{}", "keys.json: no set of keys (RFC 7517)"),
        (
            "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}",
            "the key number 1 is private or a shared",
        ),
    ] {
        folder.write("keys.json", keys);
        let told = folder.load(&text, &[]).unwrap_err().to_string();
        assert!(told.contains(expected) && !told.contains("c2VjcmV0"), "{told}");
    }
}

#[test]
fn a_rule_may_ask_for_a_token_and_map_its_name() {
    let folder = Folder::new();
    let rules = folder.write("hba.conf", "host all all all oauth map=people\n");
    let maps = folder.write("ident.conf", "people /^(.*)@example\\.com$ \\1\n");
    let auth = format!(
        "[auth]\nauth_hba_file = \"{}\"\nauth_ident_file = \"{}\"\n",
        rules.display(),
        maps.display()
    );
    let config = folder.load(text(&folder, &auth), &[]).unwrap();
    let origin = Origin::Clear("127.0.0.1".parse().unwrap());
    let terms = config.terms(&Caller { origin, database: Some("shop"), user: "ann" }, &Vec::new);
    let terms = terms.unwrap();
    assert_eq!(terms.method, Method::OAuth);
    assert!(terms.allow("ann@example.com", "ann") && !terms.allow("ann", "ann"));

    let told = folder.load(&auth, &[]).unwrap_err().to_string();
    assert!(told.contains("hba.conf:1: the method oauth needs issuer and jwks_file"), "{told}");
    folder.write("hba.conf", "host all all all oauth issuer=https://id.example.com\n");
    let told = folder.load(text(&folder, &auth), &[]).unwrap_err().to_string();
    assert!(told.contains("issuer is not an option here"), "{told}");
}
