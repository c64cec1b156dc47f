//! The client's half of the login exchange: clear text, md5, SCRAM-SHA-256.

use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding, ScramSha256},
};

use super::batch::Batch;
use super::client::RawClient;
use super::frame::Frame;
use super::login::Login;

// https://www.postgresql.org/docs/current/protocol-message-formats.html, Authentication*
const OK: u32 = 0;
const CLEARTEXT_PASSWORD: u32 = 3;
const MD5_PASSWORD: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// The way a server asked for the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    ClearText,
    Md5,
    Scram,
}

/// One exchange as far as it has come.
pub(crate) struct Exchange {
    scram: Option<ScramSha256>,
    pub(crate) asked: Asked,
    /// The server proved that it knows the secret, where the method has such a proof.
    pub(crate) server_proven: bool,
}

impl Exchange {
    pub(crate) fn new() -> Exchange {
        Exchange { scram: None, asked: Asked::Nothing, server_proven: false }
    }

    /// Answers one Authentication message.
    pub(crate) fn answer(&mut self, client: &mut RawClient, login: &Login, request: &Frame) {
        let (code, data) = request.body.split_at(4);
        match u32::from_be_bytes(code.try_into().unwrap()) {
            OK => {}
            CLEARTEXT_PASSWORD => {
                self.asked = Asked::ClearText;
                client.send(&password(&format!("{}\0", login.password)));
            }
            MD5_PASSWORD => {
                self.asked = Asked::Md5;
                let salt = data.try_into().expect("a salt of four bytes");
                let hash = md5_hash(login.user.as_bytes(), login.password.as_bytes(), salt);
                client.send(&password(&format!("{hash}\0")));
            }
            SASL => {
                self.asked = Asked::Scram;
                let mechanisms = String::from_utf8_lossy(data);
                assert!(mechanisms.split('\0').any(|name| name == "SCRAM-SHA-256"));
                let secret = login.password.as_bytes();
                let scram =
                    self.scram.insert(ScramSha256::new(secret, ChannelBinding::unsupported()));
                let first = scram.message();
                let length = i32::try_from(first.len()).unwrap().to_be_bytes();
                let body = [b"SCRAM-SHA-256\0".as_slice(), &length, first].concat();
                client.send(&Batch::new().frame(b'p', &body));
            }
            SASL_CONTINUE => {
                let scram = self.scram.as_mut().expect("asked for SCRAM before");
                scram.update(data).expect("a well formed server-first-message");
                let answer = scram.message().to_vec();
                client.send(&Batch::new().frame(b'p', &answer));
            }
            SASL_FINAL => {
                let mut scram = self.scram.take().expect("asked for SCRAM before");
                scram.finish(data).expect("the server knows the secret");
                self.server_proven = true;
            }
            code => panic!("authentication method {code} is not known here"),
        }
    }
}

fn password(text: &str) -> Batch {
    Batch::new().frame(b'p', text.as_bytes())
}
