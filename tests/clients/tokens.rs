//! libpq 18 logs in with tokens (`OAUTHBEARER`): the pooler tells it where to get one, as Postgres does.

use serde_json::json;

use super::support::{ISSUER, Issuer, asking_for_tokens};
use super::{python, run};

#[test]
fn libpq_finds_its_issuer_and_logs_in_with_its_token() {
    let issuer = Issuer::new("a");
    let world = asking_for_tokens(&[&issuer]).0.start();
    let good = issuer.token(json!({}));
    let expired = issuer.token(json!({ "exp": 1 }));
    let file = world.pooler.folder().join("tokens");
    std::fs::write(&file, format!("{good}\n{expired}\n")).unwrap();
    let said = run(&world, python("python/oauth.py").arg(ISSUER).arg(&file));
    let told = format!("{ISSUER}/.well-known/openid-configuration openid db: ");
    let said: Vec<_> = said.lines().collect();
    let [good, expired] = said[..] else { panic!("{said:#?}") };
    assert_eq!(good, format!("{told}let in as app"));
    let refused = "FATAL: OAuth bearer authentication failed for user \"app\"";
    assert!(expired.starts_with(&told) && expired.contains(refused), "{expired}");
}
