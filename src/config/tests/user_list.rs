//! The users of `auth_file` beside those of `[users]`.

use std::os::unix::fs::PermissionsExt;

use super::super::userlist::MAX_BYTES;
use super::super::{AuthType, Config, ConfigErrors, SecretText, Warning};
use super::Folder;

/// Loads a configuration whose auth_file has this text.
fn load(folder: &Folder, list: impl AsRef<[u8]>, rest: &str) -> Result<Config, ConfigErrors> {
    let path = folder.write("userlist.txt", list);
    folder.load(format!("[auth]\nauth_file = \"{}\"\n{rest}", path.display()), &[])
}

/// The faults of such a configuration, with files called by their names only.
fn faults(list: impl AsRef<[u8]>) -> String {
    let folder = Folder::new();
    let faults = load(&folder, list, "").unwrap_err().to_string();
    faults.replace(&format!("{}/", folder.0.path().display()), "")
}

#[test]
fn its_users_join_and_what_users_says_wins() {
    let folder = Folder::new();
    let list = "\"ann\" \"from list\"\n\"bob\" \"from list\"\n\"eve\" \"\"\n";
    let rest = "[users.ann]\npassword = \"own\"\n[users.bob]\npool_size = 3";
    let config = load(&folder, list, rest).unwrap();
    let secret = |user: &str| config.users[user].password.as_ref().map(SecretText::expose);
    assert_eq!(secret("ann"), Some("own"));
    assert_eq!(secret("bob"), Some("from list"));
    assert_eq!(secret("eve"), None);
    assert_eq!(config.users["bob"].pool_size, Some(3));
    assert_eq!(config.auth.auth_type, AuthType::ScramSha256);
    assert_eq!(config.warnings, []);
}

#[test]
fn its_faults_have_line_numbers_and_show_no_secret() {
    assert_eq!(
        faults("\"ann\" \"x\"\n\"bob\" hunter2\nhunter2\n"),
        "userlist.txt:2: expected a secret in double quotes after the user name\n\
         userlist.txt:3: expected a user name in double quotes"
    );
}

#[test]
fn a_file_that_is_missing_huge_or_no_text_is_refused() {
    assert_eq!(
        faults(vec![b' '; MAX_BYTES as usize + 1]),
        "userlist.txt: larger than 10485760 bytes"
    );
    assert_eq!(faults(b"\"ann\" \"\xff\""), "userlist.txt: not UTF-8 text");
    let missing = Folder::new().load("[auth]\nauth_file = \"/nonexistent/users\"", &[]);
    let text = missing.unwrap_err().to_string();
    assert_eq!(text, "/nonexistent/users: cannot be read: entity not found");
}

#[test]
fn a_repeated_user_and_open_permissions_are_warned_of() {
    let folder = Folder::new();
    let config = load(&folder, "\"a\" \"1\"\n\"a\" \"2\"\n", "").unwrap();
    let file = folder.0.path().join("userlist.txt");
    let repeated = Warning::RepeatedUser { file: file.clone(), line: 2 };
    assert_eq!(config.warnings, std::slice::from_ref(&repeated));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
    let again = Config::load(Some(&folder.0.path().join("pooler.toml")), &Default::default());
    assert_eq!(again.unwrap().warnings, [repeated, Warning::ReadableByAll(file)]);
}
