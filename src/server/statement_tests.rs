//! Shared statements, and which of them a server knows.

use super::*;

#[test]
fn the_same_body_is_the_same_statement() {
    let registry = StatementRegistry::new(1);
    let a = registry.intern(b"select 1\0\0\0", None, |_| false);
    let b = registry.intern(b"select 1\0\0\0", None, |_| false);
    let c = registry.intern(b"select 1\0\0\x01\0\0\0\x17", None, |_| false);
    assert!(Arc::ptr_eq(&a, &b));
    assert_ne!(a.id, c.id);
}

#[test]
fn what_executes_a_clients_own_is_not_shared() {
    let registry = StatementRegistry::new(1);
    let of = |text: &[u8]| registry.intern(text, None, |_| false);
    let a = of(b" /* x */ EXECUTE mine(1)\0\0\0");
    a.prove();
    assert_ne!(a.id, of(b" /* x */ EXECUTE mine(1)\0\0\0").id);
    assert!(registry.proven(b" /* x */ EXECUTE mine(1)\0\0\0", None).is_none());
    assert_eq!(of(b"select execute\0\0\0").id, of(b"select execute\0\0\0").id);
}

#[test]
fn the_same_text_in_other_schemas_is_another_statement() {
    let registry = StatementRegistry::new(1);
    let schemas = |name: &str| Some(Arc::<str>::from(name));
    let of = |schemas: &Option<Arc<str>>| registry.intern(b"x", schemas.as_ref(), |_| false);
    let (none, a, b) = (of(&None), of(&schemas("a")), of(&schemas("b")));
    assert!(none.id != a.id && a.id != b.id && b.id != none.id);
    assert!(Arc::ptr_eq(&a, &of(&schemas("a"))) && a.is_at_home(schemas("a").as_ref()));
    assert!(!a.is_at_home(None) && !none.is_at_home(schemas("b").as_ref()));
    assert_eq!(registry.len(), 3);
}

#[test]
fn a_changed_schema_or_a_renewal_gives_a_new_name() {
    let registry = StatementRegistry::new(1);
    let a = registry.intern(b"x", None, |_| false);
    let b = registry.intern(b"x", None, |found| found.id == a.id);
    assert_ne!(a.id, b.id);
    registry.schema_changed();
    let c = registry.intern(b"x", None, |_| false);
    assert_ne!(b.id, c.id);
    assert!(Arc::ptr_eq(&c, &registry.intern(b"x", None, |_| false)));
}

#[test]
fn statements_nobody_holds_do_not_gather_for_ever() {
    let registry = StatementRegistry::new(1);
    for i in 0..20 * KEEP_UNUSED {
        drop(registry.intern(i.to_string().as_bytes(), None, |_| false));
    }
    assert!(registry.len() <= 2 * KEEP_UNUSED, "{}", registry.len());
}

#[test]
fn long_statements_nobody_holds_gather_less() {
    const MOST: usize = 1024 * 1024;
    let registry = StatementRegistry::new(1);
    // What the first sweep sets anew.
    registry.known.lock().sweep_at_bytes = MOST;
    let mut text = vec![b' '; MOST / 16];
    for i in 0..20_u8 {
        text[0] = i;
        drop(registry.intern(&text, None, |_| false));
    }
    let known = registry.known.lock();
    assert_eq!(known.count, 5, "the sixteenth swept all but itself");
    assert_eq!(known.bytes, 5 * text.len());
    assert_eq!(known.sweep_at_bytes, KEEP_UNUSED_BYTES + 2 * text.len());
}

#[test]
fn what_forgets_is_known_by_its_first_word() {
    assert!(forgets(b" \nDEALLOCATE ALL\0") && forgets(b"Discard all"));
    assert!(!forgets(b"select 'discard'") && !forgets(b"disc") && !forgets(b""));
}

#[test]
fn the_least_recently_used_goes_first() {
    let mut server = ServerStatements::new(2);
    server.learn(1);
    server.learn(2);
    assert_eq!(server.surplus(), None);
    assert!(server.knows(1));
    server.learn(3);
    assert_eq!(server.surplus(), Some(2));
    assert_eq!(server.surplus(), None);
    assert!(server.knows(1) && server.knows(3) && !server.knows(2));
}

#[test]
fn names_are_the_prefix_and_the_number() {
    for id in [0, 7, 12_345, u64::MAX] {
        let wanted = format!("pooler_{id}");
        assert_eq!(SharedName::new(id).as_bytes(), wanted.as_bytes());
    }
}
