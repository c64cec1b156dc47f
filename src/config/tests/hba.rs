//! The rules of `auth_hba_file` and the maps of `auth_ident_file`: what is read, what is refused, who is let in how.

use std::net::IpAddr;

use super::super::hba::{Caller, ClientCert, Method, Network, Origin};
use super::super::{AuthType, Config, ConfigErrors, Warning};
use super::Folder;

/// With certificates of clients to be checked.
const TLS: &str = "[tls]\nclient_tls_sslmode = \"prefer\"\nclient_tls_cert_file = \"c\"\n\
    client_tls_key_file = \"k\"\nclient_tls_ca_file = \"a\"\n";

fn load(folder: &Folder, rules: &str, maps: &str, rest: &str) -> Result<Config, ConfigErrors> {
    let (rules, maps) = (folder.write("hba.conf", rules), folder.write("ident.conf", maps));
    let auth = format!(
        "[auth]\nauth_hba_file = \"{}\"\nauth_ident_file = \"{}\"\n",
        rules.display(),
        maps.display()
    );
    folder.load(format!("{auth}{rest}"), &[])
}

fn of(rules: &str) -> Config {
    load(&Folder::new(), rules, "", TLS).unwrap_or_else(|faults| panic!("{rules}\n{faults}"))
}

/// The faults, with files called by their names only.
fn faults(rules: &str, maps: &str, rest: &str) -> Vec<String> {
    let folder = Folder::new();
    let faults = load(&folder, rules, maps, rest).expect_err("there is no fault").to_string();
    let prefix = format!("{}/", folder.0.path().display());
    faults.replace(&prefix, "").lines().map(str::to_owned).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The machine has one address.
fn own() -> Vec<Network> {
    vec![Network { address: ip("10.0.0.1"), mask: ip("255.255.255.0") }]
}

fn method(config: &Config, origin: Origin, database: &str, user: &str) -> Option<Method> {
    let caller = Caller { origin, database: Some(database), user };
    config.terms(&caller, &own).map(|terms| terms.method)
}

#[test]
fn the_first_rule_that_fits_decides() {
    let config = of("\
        # TYPE DATABASE USER ADDRESS METHOD\n\
        local all postgres peer\n\
        host shop,\"all\" app 10.0.0.0/8 scram-sha-256\n\
        host sameuser all 192.168.0.0 255.255.0.0 md5\n\
        hostssl /^tenant_\\d+$ all all password\n\
        hostnossl all all samehost trust\n\
        host all all samenet passthrough\n\
        host replication all all trust\n\
        host all \"+app\",mallory all reject\n\
        hostssl all all ::/0 cert\n");
    assert_eq!(config.auth.auth_type, AuthType::Hba, "the file alone says it");
    let (clear, tls) = (|text| Origin::Clear(ip(text)), |text| Origin::Encrypted(ip(text)));
    for (origin, database, user, expected) in [
        (Origin::Local, "any", "postgres", Some(Method::Peer)),
        (Origin::Local, "any", "app", None),
        (clear("10.1.2.3"), "shop", "app", Some(Method::ScramSha256)),
        (tls("10.1.2.3"), "all", "app", Some(Method::ScramSha256)),
        (clear("10.1.2.3"), "other", "app", None),
        (clear("192.168.9.9"), "ann", "ann", Some(Method::Md5)),
        (clear("192.168.9.9"), "ann", "bob", None),
        (tls("1.2.3.4"), "tenant_7", "bob", Some(Method::Plain)),
        (clear("1.2.3.4"), "tenant_7", "bob", None),
        (tls("1.2.3.4"), "tenant_x", "bob", None),
        (clear("10.0.0.1"), "x", "bob", Some(Method::Trust)),
        (tls("10.0.0.1"), "x", "bob", Some(Method::Passthrough)),
        (clear("10.0.0.200"), "x", "bob", Some(Method::Passthrough)),
        (clear("10.0.1.200"), "x", "bob", None),
        (clear("1.2.3.4"), "x", "mallory", Some(Method::Reject)),
        (clear("1.2.3.4"), "x", "+app", Some(Method::Reject)),
        (tls("::1"), "x", "bob", Some(Method::Cert)),
        (clear("::1"), "x", "bob", None),
    ] {
        assert_eq!(
            method(&config, origin, database, user),
            expected,
            "{origin:?} {database} {user}"
        );
    }
}

/// A fault in each line.
const FAULTY: &str = "\
        tcp all all trust\n\
        hostgssenc all all all trust\n\
        local all\n\
        local all all ldap\n\
        host all all 10.0.0.0/33 trust\n\
        host all all 10.0.0.0 ffff:: trust\n\
        host all all db.example trust\n\
        host all +staff all trust\n\
        host samerole all all trust\n\
        host all all all peer\n\
        host all all all cert\n\
        host all all all ident\n\
        host all all all sesame\n\
        host all all all trust map=x\n\
        host all all all md5 clientcert=verify-ca\n\
        hostssl all all all md5 clientcert=1\n\
        hostssl all all all cert clientcert=verify-ca\n\
        hostssl all all all cert map=nowhere\n\
        hostssl all all all md5 clientname=DN\n\
        local all all peer please\n\
        host /( all all trust\n\
        host \"open all all trust\n\
        host all all 10.0.0.0/8,11.0.0.0/8 trust\n\
        host all all 10.0.0.0\n\
        @missing all all all trust\n\
        include one two\n";

#[test]
fn physical_replication_is_let_in_by_its_own_rules_only() {
    let config = of("host all,shop all all trust\nhost replication app all scram-sha-256\n");
    let asked = |database, user| {
        let caller = Caller { origin: Origin::Clear(ip("1.1.1.1")), database, user };
        config.terms(&caller, &own).map(|terms| terms.method)
    };
    assert_eq!(asked(None, "app"), Some(Method::ScramSha256));
    assert_eq!(asked(None, "ann"), None);
    // A database of that name is another thing.
    assert_eq!(asked(Some("replication"), "app"), Some(Method::Trust));
}

#[test]
fn every_fault_of_every_line_is_told() {
    let found = faults(FAULTY, "", TLS);
    assert_eq!(found.len(), FAULTY.lines().count() + 1, "{found:#?}");
    for (line, expected) in [
        (1, "\"tcp\" is none of: local, host,"),
        (2, "GSSAPI is not spoken here"),
        (3, "the line ends before the user"),
        (4, "the method ldap is not here"),
        (5, "invalid CIDR mask in address \"10.0.0.0/33\""),
        (6, "invalid IP mask \"ffff::\""),
        (7, "\"db.example\" is no IP address"),
        (8, "+staff needs to know Postgres' roles"),
        (9, "samerole needs to know Postgres' roles"),
        (10, "peer is only possible for local lines"),
        (11, "cert is only possible for hostssl lines"),
        (12, "the method ident is not here"),
        (13, "\"sesame\" is none of: trust, reject,"),
        (14, "map is only possible for the methods cert, peer and oauth"),
        (15, "clientcert is only possible for hostssl lines"),
        (16, "\"1\" is none of: verify-ca, verify-full"),
        (17, "clientcert can only be verify-full"),
        (18, "the map \"nowhere\" is not in auth_ident_file"),
        (19, "\"clientname\" is none of the options"),
        (20, "\"please\" is no option NAME=VALUE"),
        (21, "\"(\" is no regular expression"),
        (22, "a double quote is not closed"),
        (23, "only one address is possible"),
        (24, "the line ends before the IP mask"),
        (26, "include needs the name of one file or folder"),
    ] {
        let place = format!("hba.conf:{line}: ");
        let fault = found.iter().find(|fault| fault.starts_with(&place));
        assert!(fault.is_some_and(|fault| fault.contains(expected)), "{line}: {fault:?}");
    }
    assert!(found.iter().any(|fault| fault == "missing: cannot be read: entity not found"));
}

#[test]
fn files_include_files_and_lists_of_names() {
    let folder = Folder::new();
    folder.write("dbs", "shop, \"two words\"\n@more # and those\n");
    folder.write("more", "crm\n");
    folder.write("tail.conf", "host all all all reject\n");
    std::fs::create_dir(folder.0.path().join("d")).unwrap();
    folder.write("d/b.conf", "host b all all md5\n");
    folder.write("d/a.conf", "host a,b all all scram-sha-256\n");
    folder.write("d/.hidden.conf", "nonsense\n");
    folder.write("d/notes.txt", "nonsense\n");
    let rules =
        "host @dbs all all trust\ninclude_dir d\ninclude_if_exists nowhere\ninclude tail.conf\n";
    let config = load(&folder, rules, "", TLS).unwrap();
    let asked = |database| method(&config, Origin::Clear(ip("1.1.1.1")), database, "x").unwrap();
    for name in ["shop", "two words", "crm"] {
        assert_eq!(asked(name), Method::Trust, "{name}");
    }
    assert_eq!(
        [asked("a"), asked("b"), asked("c")],
        [Method::ScramSha256, Method::ScramSha256, Method::Reject]
    );
}

#[test]
fn files_that_include_themselves_end() {
    let found = faults("include hba.conf\nhost @hba.conf all all trust\n", "", TLS);
    assert!(found.iter().any(|fault| fault.contains("more than 10 deep")), "{found:#?}");
    assert!(found.len() < 100, "{}", found.len());
}

#[test]
fn maps_say_who_may_log_in_as_whom() {
    let maps = "\
        # MAP SYSTEM POSTGRES\n\
        m ann app\n\
        m ann ops\n\
        m /^(.*)@example\\.com$ \\1\n\
        m /^svc- \"/^svc_\"\n\
        m root all\n\
        other \"bob smith\" \"all\"\n";
    let config = load(
        &Folder::new(),
        "local all all peer map=m\nhostssl all all all cert map=other\n",
        maps,
        TLS,
    )
    .unwrap();
    let allow = |origin, proven: &str, user: &str| {
        let caller = Caller { origin, database: Some("x"), user };
        config.terms(&caller, &own).unwrap().allow(proven, user)
    };
    for (proven, user, expected) in [
        ("ann", "app", true),
        ("ann", "ops", true),
        ("ann", "ann", false),
        ("eve@example.com", "eve", true),
        ("eve@example.com", "ann", false),
        ("eve@example.org", "eve", false),
        ("svc-1", "svc_2", true),
        ("svc-1", "app", false),
        ("root", "anybody", true),
        ("bob smith", "all", false),
    ] {
        assert_eq!(allow(Origin::Local, proven, user), expected, "{proven} as {user}");
    }
    let tls = Origin::Encrypted(ip("1.1.1.1"));
    assert!(allow(tls, "bob smith", "all") && !allow(tls, "bob smith", "bob smith"));
}

#[test]
fn faults_of_maps_are_told_too() {
    let maps = "m\nm a\nm a b c\nm a,b c\nm /x \\1\nm /( x\nm a +staff\nm /^(a|ab)x? \\1\nn /^(a)\\|b \\1\n";
    let found = faults("local all all peer map=m\n", maps, TLS);
    let expected = [
        "hba.conf:1: the map \"m\" is not in auth_ident_file",
        "ident.conf:1: the line ends before the system user",
        "ident.conf:2: the line ends before the Postgres user",
        "ident.conf:3: something follows the Postgres user",
        "ident.conf:4: only one system user is possible",
        "ident.conf:5: \"/x\" has nothing in parentheses for the \\1",
        "ident.conf:6: \"(\" is no regular expression",
        "ident.conf:7: +staff needs to know Postgres' roles, which the pooler does not: name the users or use a pattern such as /^app_",
        "ident.conf:8: \"/^(a|ab)x?\" has a | and a \\1: the first alternative would count, and in Postgres the longest; write a line for each",
    ];
    assert_eq!(found, expected);
}

#[test]
fn certificates_are_asked_for_by_rules_and_by_the_mode() {
    let rules = "\
        hostssl a all all trust clientcert=verify-ca\n\
        hostssl b all all trust clientcert=verify-full\n\
        hostssl c all all cert\n\
        host all all all trust\n\
        local all all trust\n";
    let asked = |mode: &str, origin, database| {
        let tls = TLS.replace("prefer", mode);
        let config = load(&Folder::new(), rules, "", &tls).unwrap();
        config
            .terms(&Caller { origin, database: Some(database), user: "x" }, &own)
            .unwrap()
            .client_cert
    };
    let (tls, clear) = (Origin::Encrypted(ip("1.1.1.1")), Origin::Clear(ip("1.1.1.1")));
    let of_mode = |mode, origin| ["a", "b", "c", "d"].map(|name| asked(mode, origin, name));
    use ClientCert::{Issuer, IssuerAndName, Unasked};
    assert_eq!(of_mode("prefer", tls), [Issuer, IssuerAndName, Issuer, Unasked]);
    assert_eq!(of_mode("prefer", clear), [Unasked; 4]);
    assert_eq!(of_mode("verify-ca", tls), [Issuer, IssuerAndName, Issuer, Issuer]);
    // A map may give other names than the certificate's.
    assert_eq!(of_mode("verify-full", tls), [IssuerAndName, IssuerAndName, Issuer, IssuerAndName]);
    assert_eq!(of_mode("verify-full", Origin::Local), [Unasked; 4]);
}

#[test]
fn what_needs_a_file_or_tls_says_so() {
    let no_tls = faults("hostssl all all all cert\n", "", "");
    assert_eq!(
        no_tls,
        ["hba.conf:1: certificates can only be checked with client_tls_ca_file in [tls]"]
    );
    assert_eq!(
        super::fault("[auth]\nauth_type = \"hba\""),
        "auth.auth_type: needs auth_hba_file beside it"
    );
    assert_eq!(
        super::fault("[auth]\nauth_type = \"cert\""),
        "auth.auth_type: needs client_tls_ca_file in [tls], and another client_tls_sslmode than disable"
    );
    let unused =
        load(&Folder::new(), "local all all trust\n", "", "auth_type = \"trust\"\n").unwrap();
    assert!(matches!(unused.warnings[..], [Warning::HbaUnused]), "{:?}", unused.warnings);
    let blind = load(&Folder::new(), "hostssl all all all trust\n", "", "").unwrap();
    assert!(
        blind.warnings.iter().any(|warning| warning
            .to_string()
            .ends_with("hba.conf:1: matches nobody, as client_tls_sslmode is disable")),
        "{:?}",
        blind.warnings
    );
}
