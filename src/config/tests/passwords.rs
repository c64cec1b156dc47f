//! Secrets from files and from the environment.

use std::os::unix::fs::PermissionsExt;

use super::super::{AuthType, SecretText, Warning, otlp_headers};
use super::{Folder, fault, faults};

#[test]
fn a_secret_may_stand_in_a_file_or_a_variable() {
    let folder = Folder::new();
    let file = folder.write("secret", "from file\nand more\n");
    let text = format!(
        "[users.ann]\npassword_file = \"{0}\"\n[users.bob]\npassword_env = \"BOB\"\n\
         [databases.shop]\nuser = \"owner\"\npassword_file = \"{0}\"\n",
        file.display()
    );
    let config = folder.load(&text, &[("BOB", "from variable")]).unwrap();
    let secret = |user: &str| config.users[user].password.as_ref().map(SecretText::expose);
    assert_eq!((secret("ann"), secret("bob")), (Some("from file"), Some("from variable")));
    let forced = config.databases["shop"].password.as_ref().map(SecretText::expose);
    assert_eq!(forced, Some("from file"));
    assert_eq!(config.auth.auth_type, AuthType::ScramSha256);
    assert_eq!(config.warnings, []);
    let shown = format!("{}{config:?}", config.to_toml());
    assert!(!shown.contains("from file") && !shown.contains("from variable"), "{shown}");

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = folder.load(&text, &[("BOB", "x")]).unwrap();
    assert_eq!(config.warnings, [Warning::ReadableByAll(file)], "once for a file");
}

#[test]
fn a_file_wins_over_auth_file_and_may_be_named_by_the_environment() {
    let folder = Folder::new();
    let file = folder.write("secret", "own");
    let list = folder.write("userlist.txt", "\"ann\" \"listed\"\n");
    let text = format!("[auth]\nauth_file = \"{}\"\n", list.display());
    let path = file.display().to_string();
    let config = folder.load(text, &[("POOLER__USERS__ANN__PASSWORD_FILE", &path)]).unwrap();
    assert_eq!(config.users["ann"].password.as_ref().map(SecretText::expose), Some("own"));
}

#[test]
fn two_sources_or_none_are_faults_that_show_no_secret() {
    assert_eq!(
        fault("[users.ann]\npassword = \"hunter2\"\npassword_file = \"f\""),
        "users.ann.password_file: there is password beside it: one of them is enough"
    );
    assert_eq!(
        fault("[users.ann]\npassword = \"hunter2\"\npassword_env = \"f\""),
        "users.ann.password_env: there is password beside it: one of them is enough"
    );
    assert_eq!(
        fault("[users.ann]\npassword_file = \"f\"\npassword_env = \"E\""),
        "users.ann.password_env: there is password_file beside it: one of them is enough"
    );
    assert_eq!(
        fault("[users.ann]\npassword_env = \"E\""),
        "users.ann.password_env: the environment has no E"
    );
    assert_eq!(
        faults("[users.ann]\npassword_env = \"E\"", &[("E", "")]),
        ["pooler.toml: users.ann.password_env: the secret is empty"]
    );
    assert_eq!(
        faults("[users.ann]\npassword_file = \"/nonexistent/secret\"", &[]),
        ["/nonexistent/secret: cannot be read: entity not found"]
    );
    assert_eq!(
        fault("[databases.shop]\npassword_env = \"E\""),
        "databases.shop.password_env: the environment has no E"
    );
    let folder = Folder::new();
    let empty = folder.write("secret", "\nhunter2\n");
    let text = format!("[users.ann]\npassword_file = \"{}\"", empty.display());
    let found = folder.load(text, &[]).unwrap_err().to_string();
    assert!(found.ends_with("secret: the secret is empty"), "{found}");
}

#[test]
fn headers_for_a_collector_are_secret_wherever_they_stand() {
    let folder = Folder::new();
    let file = folder.write("headers", "authorization=Bearer%20hunter2\n");
    let text = format!(
        "[otel]\nendpoint = \"https://otlp.example\"\nheaders_file = \"{}\"\n",
        file.display()
    );
    let config = folder.load(&text, &[]).unwrap();
    let headers = otlp_headers(config.otel.headers.as_ref().unwrap()).unwrap();
    assert_eq!((&*headers[0].0, headers[0].1.expose()), ("authorization", "Bearer hunter2"));
    let shown = format!("{}{config:?}", config.to_toml());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("endpoint = \"https://otlp.example:4318\""), "{shown}");

    let both = format!("{text}headers = \"a=b\"\n");
    let report = folder.load(&both, &[]).unwrap_err().to_string();
    assert!(report.contains("there is headers beside it"), "{report}");
    let wrong = "[otel]\nheaders = \"hunter2\"\nendpoint = \"http://ann:hunter2@host\"\n";
    let report = folder.load(wrong, &[]).unwrap_err().to_string();
    assert_eq!(report.lines().count(), 2, "{report}");
    assert!(!report.contains("hunter2") && report.contains("otel.headers"), "{report}");
}
