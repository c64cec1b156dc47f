//! Single messages after the login, read out of any bytes: what a server says of itself, what a client names.

use crate::protocol::backend::{self, Authentication};
use crate::protocol::error_response::ErrorFields;
use crate::protocol::frame::{self, HEADER_LENGTH, LARGE_MESSAGE_LIMIT, split_cstr};
use crate::protocol::frontend::{self, Bind, Parse};
use crate::relay::names;
use crate::server::inventory::Inventory;
use crate::server::statement::SHARED_PREFIX;
use crate::sql::effects::Effects;

/// A server's bodies: any of them is read to something within it, or to nothing.
pub(super) fn backend(input: &[u8]) {
    if let Some(Authentication::Sasl(mechanisms)) = Authentication::parse(input) {
        assert!(mechanisms.iter().map(|name| name.len() + 1).sum::<usize>() <= input.len());
    }
    if let Some((name, value)) = backend::parameter_status(input) {
        let mut again = Vec::new();
        backend::write_parameter_status(&mut again, name, value);
        assert!(input.starts_with(&again[HEADER_LENGTH..]));
    }
    assert!(input.starts_with(backend::command_tag(input)));
    error(input);
    let mut inventory = Inventory::new(*Effects::unreadable());
    let taken = inventory.row(input);
    assert!(taken || inventory.settings.is_empty());
}

/// An error keeps its fields when the client's names are put into it.
fn error(body: &[u8]) {
    let fields = ErrorFields::parse(body);
    let _ = (fields.sqlstate(), fields.is_fatal());
    let name = |id: u64| if id % 2 == 1 { Some(&b"a client's name"[..]) } else { None };
    let Some(restored) = names::restore(body, name) else { return };
    assert!(restored.len() <= 2 * body.len() + 8 * 1024);
    let count = |bytes: &[u8]| memchr::memchr_iter(0, bytes).count();
    assert_eq!(count(&restored), count(body), "a field ends elsewhere");
    let kinds = |mut body: &[u8]| {
        let mut kinds = Vec::new();
        while let Some((value, rest)) = split_cstr(body) {
            kinds.push(value.first().copied());
            body = rest;
        }
        kinds
    };
    // Where a value was cut off, its letter is text.
    if !body.windows(SHARED_PREFIX.len() + 1).any(|w| w[0] == 0 && &w[1..] == SHARED_PREFIX)
        && !body.starts_with(SHARED_PREFIX)
    {
        assert_eq!(kinds(&restored), kinds(body));
    }
}

/// A client's bodies: what is read is what stands there.
pub(super) fn frontend(input: &[u8]) {
    if let Ok(Some(head)) = frame::header(input) {
        assert!(head.body <= LARGE_MESSAGE_LIMIT && head.tag == input[0]);
    }
    let mut again = Vec::new();
    if let Ok(parse) = Parse::read(input) {
        frontend::write_parse(&mut again, parse.name, parse.statement);
        assert_eq!(&again[HEADER_LENGTH..], input);
    }
    if let Some(bind) = Bind::read(input) {
        assert_eq!(bind.names_length, bind.portal.len() + bind.statement.len() + 1);
        assert!(input.starts_with(bind.portal));
        assert_eq!(&input[bind.portal.len()..bind.names_length - 1], bind.statement);
        // What is known from a part of the body does not change when the rest comes.
        assert_eq!(Bind::read(&input[..bind.names_length]), Some(bind));
        assert_eq!(Bind::read(&input[..bind.names_length - 1]), None);
    }
    if let Ok((target, name)) = frontend::target(input) {
        assert_eq!(name.len() + 2, input.len());
        again.clear();
        if target == frontend::Target::Statement {
            frontend::write_close_statement(&mut again, name);
            assert_eq!(&again[HEADER_LENGTH..], input);
        }
    }
}
