//! Rules about who is let in, and maps of names.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crate::config::Config;
use crate::config::hba::{Caller, Method, Origin};

/// Stands between the rules and the maps of an input.
const MAPS: &str = "\n---\n";

/// A file that is there for a while.
struct Scratch(PathBuf);

impl Scratch {
    fn new(kind: &str, text: &str) -> Self {
        let thread = std::thread::current().id();
        let name = format!("pooler-fuzz-{kind}-{}-{thread:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let written = std::fs::File::create(&path).and_then(|mut f| f.write_all(text.as_bytes()));
        written.expect("a file for a while");
        Self(path)
    }

    fn shown(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn load(rules: &str, maps: &str) -> Option<Config> {
    let (rules, maps) = (Scratch::new("hba", rules), Scratch::new("ident", maps));
    let auth = [
        ("POOLER__AUTH__AUTH_TYPE", "hba"),
        ("POOLER__AUTH__AUTH_HBA_FILE", rules.shown()),
        ("POOLER__AUTH__AUTH_IDENT_FILE", maps.shown()),
    ];
    let env: BTreeMap<_, _> = auth.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    match Config::load(None, &env) {
        Ok(config) => Some(config),
        Err(errors) => {
            assert!(!errors.faults().is_empty() && !errors.to_string().is_empty());
            None
        }
    }
}

fn callers() -> impl Iterator<Item = Caller<'static>> {
    let addresses: [IpAddr; 3] =
        [Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(10, 1, 2, 3).into(), Ipv6Addr::LOCALHOST.into()];
    let origins = addresses.into_iter().flat_map(|a| [Origin::Clear(a), Origin::Encrypted(a)]);
    origins.chain([Origin::Local]).flat_map(|origin| {
        let callers = [(Some("shop"), "app"), (Some("app"), "app"), (None, "replicator")];
        callers.map(|(database, user)| Caller { origin, database, user })
    })
}

/// The method for each caller, and whether somebody else may log in as it.
fn outcomes(config: &Config) -> Vec<Option<(Method, bool)>> {
    let own = Vec::new;
    let each = callers().map(|caller| {
        let terms = config.terms(&caller, &own)?;
        assert!(terms.map.is_some() || terms.allow(caller.user, caller.user));
        Some((terms.method, terms.allow("somebody", caller.user)))
    });
    each.collect()
}

/// The first rule that fits decides, and where none does nobody is let in.
pub(super) fn hba(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // What other files hold is not this input's.
    if text.contains(['@', '\0']) || text.to_ascii_lowercase().contains("include") {
        return;
    }
    let (rules, maps) = text.split_once(MAPS).unwrap_or((text, ""));
    let Some(config) = load(rules, maps) else { return };
    let before = outcomes(&config);
    let everybody = "local all,replication all reject\nhost all,replication all all reject\n";
    let closed = load(&format!("{everybody}{rules}"), maps).expect("rules that were read before");
    let refused = Some((Method::Reject, false));
    assert!(outcomes(&closed).iter().all(|outcome| *outcome == refused), "{rules}");
    // A line may go on in the next one.
    let Some(open) = load(&format!("{rules}\n\n{everybody}"), maps) else { return };
    for (before, after) in before.into_iter().zip(outcomes(&open)) {
        assert_eq!(after, before.or(refused), "{rules}");
    }
}
