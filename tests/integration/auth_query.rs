//! Users that only Postgres knows: `auth_query`.

use crate::support::{RawClient, Scenario, World, query};

/// Made by the operator, as the manual of PgBouncer tells: a function that only the asker may call.
const FUNCTION: &str = "
CREATE FUNCTION secret_of(name) RETURNS TABLE (usename name, passwd text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS
$$ SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END
   FROM pg_authid WHERE rolname = $1 AND rolcanlogin $$;
REVOKE ALL ON FUNCTION secret_of FROM PUBLIC;
";

/// A pooler that knows the asker only, and roles that nobody else uses.
fn scenario(roles: &str, names: &[&str]) -> Scenario {
    let scenario = Scenario::new().without("users.app").without("users.other");
    let mut postgres = scenario.cluster().superuser(scenario.database());
    let asker = format!("asker_{}", scenario.database());
    for name in names.iter().chain([&asker.as_str()]) {
        postgres.query(&format!("DROP ROLE IF EXISTS {name}"));
    }
    postgres.run(&query(&format!("CREATE ROLE {asker} LOGIN PASSWORD 'asker_secret'; {roles}")));
    postgres.query(FUNCTION);
    postgres.query(&format!("GRANT EXECUTE ON FUNCTION secret_of TO {asker}"));
    scenario
        .set("auth.auth_user", asker.as_str())
        .set("auth.auth_query", "SELECT usename, passwd FROM secret_of($1)")
        .set(&format!("users.{asker}.password"), "asker_secret")
}

fn tried(world: &World, user: &str, password: &str) -> Result<String, String> {
    let client = RawClient::try_login(&world.login().user(user, password));
    client.map(|mut client| client.value("SELECT current_user")).map_err(|error| error.sqlstate)
}

#[test]
fn a_user_that_only_postgres_knows_logs_in_here_and_there() {
    let world = scenario("", &[]).start();
    // By SCRAM, with nothing but what the login itself teaches.
    assert_eq!(tried(&world, "other", "other_secret"), Ok("other".to_owned()));
    assert_eq!(tried(&world, "other", "wrong"), Err("28P01".to_owned()));
    assert_eq!(tried(&world, "nobody_known", "other_secret"), Err("28P01".to_owned()));
    assert!(world.pooler.log().contains("the user is unknown"));
}

#[test]
fn an_md5_secret_logs_in_by_md5() {
    let world = scenario("", &[]).set("auth.auth_type", "md5").start();
    assert_eq!(tried(&world, "md5_user", "md5_secret"), Ok("md5_user".to_owned()));
    assert_eq!(tried(&world, "md5_user", "wrong"), Err("28P01".to_owned()));
    assert_eq!(tried(&world, "other", "other_secret"), Ok("other".to_owned()));
}

#[test]
fn a_new_password_is_good_at_the_second_try_at_the_latest() {
    let scenario = scenario("CREATE ROLE rotated LOGIN PASSWORD 'old'", &["rotated"]);
    let world = scenario.start();
    assert_eq!(tried(&world, "rotated", "old"), Ok("rotated".to_owned()));
    world.cluster().superuser("postgres").query("ALTER ROLE rotated PASSWORD 'new'");
    let tries = [tried(&world, "rotated", "new"), tried(&world, "rotated", "new")];
    assert_eq!(tries[1], Ok("rotated".to_owned()), "{tries:?}");
    assert_eq!(tried(&world, "rotated", "old"), Err("28P01".to_owned()));
}

#[test]
fn a_password_that_has_run_out_and_a_role_without_login_are_refused() {
    let roles = "CREATE ROLE run_out LOGIN PASSWORD 'x' VALID UNTIL '2020-01-01';
        CREATE ROLE current LOGIN PASSWORD 'x' VALID UNTIL '2999-01-01';
        CREATE ROLE without_login NOLOGIN PASSWORD 'x'";
    let world = scenario(roles, &["run_out", "current", "without_login"]).start();
    assert_eq!(tried(&world, "run_out", "x"), Err("28P01".to_owned()));
    assert_eq!(tried(&world, "without_login", "x"), Err("28P01".to_owned()));
    assert_eq!(tried(&world, "current", "x"), Ok("current".to_owned()));
}

#[test]
fn a_query_that_fails_is_explained_in_the_log_only() {
    let world = scenario("", &[]).set("auth.auth_query", "SELECT 1, $1::text FROM nowhere").start();
    let login = world.login().user("other", "other_secret");
    let error = RawClient::try_login(&login).map(drop).expect_err("nobody can be asked");
    assert_eq!(error.sqlstate, "08006");
    assert!(!error.message.contains("nowhere"), "{error:?}");
    world.pooler.wait_for_log("relation \"nowhere\" does not exist");
}

#[test]
fn a_user_of_the_file_is_not_asked_for() {
    let world = scenario("", &[])
        .set("auth.auth_query", "SELECT 1, $1::text FROM nowhere")
        .set("users.other.password", "other_secret")
        .start();
    assert_eq!(tried(&world, "other", "other_secret"), Ok("other".to_owned()));
}

#[test]
fn names_with_quotes_are_names() {
    let world = scenario("", &[]).start();
    for name in ["' OR rolname = 'other", "other\"", "$1", "*"] {
        assert_eq!(tried(&world, name, "other_secret"), Err("28P01".to_owned()), "{name}");
    }
}

#[test]
fn what_a_client_sets_does_not_reach_the_question() {
    let world = scenario("", &[]).start();
    let mut postgres = world.cluster().superuser(&world.database);
    postgres.query("CREATE SCHEMA trap");
    postgres.query(
        "CREATE FUNCTION trap.secret_of(name) RETURNS TABLE (usename name, passwd text) LANGUAGE sql AS $$ SELECT $1, 'mine'::text $$",
    );
    postgres.query("GRANT USAGE ON SCHEMA trap TO PUBLIC");
    let login = world.login().user("other", "mine").parameter("search_path", "trap");
    let error = RawClient::try_login(&login).map(drop).expect_err("the trap is set in vain");
    assert_eq!(error.sqlstate, "28P01");
}
