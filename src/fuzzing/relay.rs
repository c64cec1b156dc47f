//! The streams of clients and servers after the login: it must not matter how their bytes are cut, and nothing of
//! another client may be named.

use std::sync::Arc;

use super::bytes::Bytes;
use crate::config::StripComments;
use crate::protocol::frame::{self, HEADER_LENGTH, client_tag, server_tag};
use crate::protocol::frontend::{self, Bind, Parse, Target};
use crate::relay::local::{Local, Next};
use crate::relay::requests::Wish;
use crate::relay::rig::{
    Client, Rig, all, bind, close, describe, empty, execute, parse, query, ready, sync,
};
use crate::server::owed::Owed;
use crate::server::statement::{SharedName, Statement};

/// Longer ones teach nothing new. Below the limits under which a message is looked at in full, so that where it is
/// cut never matters.
const LONGEST: usize = 8 * 1024;

/// The text of another client's statement, which no input holds.
const FOREIGN: &[u8] = b"select 'of another client, which nobody guesses'\0\0\0";

/// How a stream ended.
#[derive(Debug, PartialEq)]
enum End {
    /// All of it was taken, but for what is incomplete.
    Open,
    /// The client must wait, or left.
    Wish(Wish),
    /// It was broken off.
    Broken(String),
}

/// A client with one statement, on a server that has room for two; and a statement of another client.
fn prepared() -> (Rig, Client, Arc<Statement>) {
    let (mut rig, mut client) = (Rig::new(2), Client::default());
    client.statements.strip_comments(StripComments::Tags);
    let foreign = client.statements.intern(&rig.registry, (FOREIGN, None), None);
    foreign.prove();
    rig.ask(&mut client, &all(&[&parse("s", "select $1"), &sync()]));
    rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
    (rig, client, foreign)
}

/// Pieces of this many bytes; 0: all at once.
fn pieces(bytes: &[u8], step: u8) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(if step == 0 { bytes.len().max(1) } else { usize::from(step) })
}

/// What goes to the server.
fn sent(input: &[u8], step: u8) -> (Vec<u8>, End, usize) {
    let (mut rig, mut client, _foreign) = prepared();
    let mut sent = Vec::new();
    let mut carry = Vec::new();
    let mut end = End::Open;
    for piece in pieces(input, step) {
        carry.extend_from_slice(piece);
        let mut out = Vec::new();
        let (taken, bytes) = rig.take(&mut client, &carry, &mut out);
        sent.extend_from_slice(bytes);
        match taken {
            Ok(taken) => {
                assert!(taken.consumed <= carry.len());
                carry.drain(..taken.consumed);
                if matches!(taken.wish, Wish::Later | Wish::Leave) {
                    end = End::Wish(taken.wish);
                    break;
                }
            }
            Err(violation) => {
                end = End::Broken(violation.to_string());
                break;
            }
        }
    }
    (sent, end, rig.server.owed.len())
}

/// A client's stream. The input: how it is cut, and the bytes.
pub(super) fn requests(input: &[u8]) {
    let mut input = Bytes(input);
    let step = input.byte();
    let bytes = input.some(LONGEST);
    let whole = sent(bytes, 0);
    let cut = sent(bytes, step);
    assert_eq!(whole, cut, "in pieces of {step}");
    let names = all_names(&whole.0);
    // What is injected for each request is a statement at most, and what goes for it.
    assert!(whole.0.len() <= 1_024 + 40 * bytes.len(), "{} of {}", whole.0.len(), bytes.len());
    for name in names {
        assert_ne!(name, SharedName::new(1).as_bytes(), "another client's statement");
    }
}

/// The statements that the frames of a stream name, all of which must be whole but for the last.
fn all_names(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    while let Ok(Some(head)) = frame::header(stream) {
        let end = head.frame_length().min(stream.len());
        let body = &stream[HEADER_LENGTH..end];
        let name = match head.tag {
            client_tag::BIND => Bind::read(body).map(|bind| bind.statement),
            client_tag::PARSE => Parse::read(body).ok().map(|parse| parse.name),
            client_tag::DESCRIBE | client_tag::CLOSE => match frontend::target(body) {
                Ok((Target::Statement, name)) => Some(name),
                Ok((Target::Portal, _)) | Err(_) => None,
            },
            tag => {
                assert!(b"cdEFfHQSX".contains(&tag), "{tag:#04x}");
                None
            }
        };
        names.extend(name.map(<[u8]>::to_vec));
        stream = &stream[end..];
    }
    names
}

/// A client that holds no server. The input: how it is cut, and the bytes.
pub(super) fn local(input: &[u8]) {
    let mut input = Bytes(input);
    let step = input.byte();
    let bytes = input.some(LONGEST);
    assert_eq!(answered(bytes, 0), answered(bytes, step), "in pieces of {step}");
}

/// What is answered without a server, what comes next, and what is left for the server.
fn answered(input: &[u8], step: u8) -> (Vec<u8>, End, Vec<u8>) {
    let (rig, mut client, _foreign) = prepared();
    let (mut reply, mut carry, mut skipping) = (Vec::new(), Vec::new(), false);
    for piece in pieces(input, step) {
        carry.extend_from_slice(piece);
        let mut local = Local {
            statements: &mut client.statements,
            registry: &rig.registry,
            settings: &rig.settings,
            body: &mut client.body,
            skipping: &mut skipping,
        };
        match local.take(&carry, &mut reply) {
            Ok((consumed, next)) => {
                carry.drain(..consumed);
                if next != Next::Read {
                    // The head of what needs a server; how much of it is there depends on the cut.
                    carry.truncate(HEADER_LENGTH);
                    return (reply, End::Broken(format!("{next:?}")), carry);
                }
            }
            Err(violation) => return (reply, End::Broken(violation.to_string()), Vec::new()),
        }
    }
    (reply, End::Open, carry)
}

/// Requests that are on their way when the server answers.
fn asked(which: u8) -> Vec<u8> {
    let copy = || query("copy t from stdin");
    match which % 6 {
        0 => all(&[&bind("s", b"1"), &describe("s"), &execute(), &sync()]),
        1 => query("select 1"),
        2 => all(&[&parse("t", "select 2"), &parse("u", "select 3"), &bind("t", b"1"), &sync()]),
        3 => all(&[&close("s"), &parse("s", "select 4"), &describe("s"), &sync()]),
        4 => all(&[&parse("", "select 5"), &bind("", b"1"), &execute(), &sync(), &copy()]),
        _ => all(&[&sync(), &query("deallocate s"), &bind("s", b"2"), &execute(), &sync()]),
    }
}

/// What goes to the client.
fn told(which: u8, input: &[u8], step: u8) -> (Vec<u8>, End, usize) {
    let (mut rig, mut client, _foreign) = prepared();
    rig.ask(&mut client, &asked(which));
    let (mut told, mut carry, mut end) = (Vec::new(), Vec::new(), End::Open);
    for piece in pieces(input, step) {
        carry.extend_from_slice(piece);
        let mut out = Vec::new();
        let (passed, bytes) = rig.pass(&mut client, &carry, &mut out);
        told.extend_from_slice(bytes);
        match passed {
            Ok(passed) => {
                assert!(passed.consumed <= carry.len());
                carry.drain(..passed.consumed);
            }
            Err(fault) => {
                end = End::Broken(fault.to_string());
                break;
            }
        }
    }
    (told, end, Owed::len(&rig.server.owed))
}

/// A server's stream. The input: what was asked, how it is cut, and the bytes.
pub(super) fn replies(input: &[u8]) {
    let mut input = Bytes(input);
    let (which, step) = (input.byte(), input.byte());
    let bytes = input.some(LONGEST);
    let whole = told(which, bytes, 0);
    let cut = told(which, bytes, step);
    assert_eq!(whole, cut, "in pieces of {step}");
    // Frames only, and no error that names what the client cannot know.
    let mut stream = &whole.0[..];
    while let Ok(Some(head)) = frame::header(stream) {
        let end = head.frame_length().min(stream.len());
        // Of a closed statement the client may have forgotten the name.
        if head.tag == server_tag::ERROR
            && end == head.frame_length()
            && !matches!(which % 6, 3 | 5)
        {
            let body = &stream[HEADER_LENGTH..end];
            assert!(!names(body, SharedName::new(2)), "{}", String::from_utf8_lossy(body));
        }
        stream = &stream[end..];
    }
}

/// Does an error name a statement as the server knows it?
fn names(body: &[u8], name: SharedName) -> bool {
    let mut found = memchr::memmem::find_iter(body, name.as_bytes());
    found.any(|at| !body.get(at + name.as_bytes().len()).is_some_and(u8::is_ascii_digit))
}
