//! Files that an administrator writes: no fault of theirs may be more than a fault.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::config::{Config, userlist};

/// A configuration either is refused with what is wrong, or is what it prints: `pooler check` shows a file that comes
/// to the same.
pub(super) fn config(input: &[u8]) {
    if input.len() > 16 * 1024 {
        return;
    }
    let Some(first) = load(input) else { return };
    let shown = first.to_toml();
    let Some(second) = load(shown.as_bytes()) else {
        panic!("what was printed cannot be read: {shown}")
    };
    assert_eq!(shown, second.to_toml());
    assert_eq!(first.needs_restart(&second), Vec::<&str>::new());
}

fn load(text: &[u8]) -> Option<Config> {
    let name = format!("pooler-fuzz-{}-{:?}.toml", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    std::fs::File::create(&path).and_then(|mut f| f.write_all(text)).expect("a file for a while");
    let loaded = Config::load(Some(&path), &BTreeMap::new());
    std::fs::remove_file(&path).expect("it was just made");
    match loaded {
        Ok(config) => Some(config),
        Err(errors) => {
            assert!(!errors.faults().is_empty() && !errors.to_string().is_empty());
            None
        }
    }
}

/// A list of users: each line is a user, a comment or a fault.
pub(super) fn userlist(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let list = userlist::parse(text);
    let lines = text.lines().count();
    assert!(list.users.len() + list.repeated.len() + list.faults.len() <= lines);
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut again = String::new();
    for (user, secret) in &list.users {
        let secret = secret.as_ref().map_or("", |secret| secret.expose());
        again.push_str(&format!("{} {}\n", quoted(user), quoted(secret)));
    }
    let reread = userlist::parse(&again);
    assert!(reread.faults.is_empty(), "{again}");
    assert_eq!(reread.users, list.users);
}
