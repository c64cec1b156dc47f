//! TLS clients that cost as little as they can, for `scripts/bench.sh`: next to pgbench, which spends twenty times what a
//! pooler does on a login, two poolers look the same. Keys are derived once, and the pooler's certificate is believed
//! unseen; handshakes are whole. Prints transactions, seconds, and the 50th and 99th percentile of their times in ms.
//!
//! `tls_load PORT CLIENTS SECONDS logins|queries`, with PGUSER, PGPASSWORD and PGDATABASE: `SELECT 1` again and again, with
//! a login for each or with one for all of a client's.

#![allow(missing_docs)]

use std::error::Error;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use pooler::auth::PlainText;
use pooler::auth::scram::client::{Challenge, begin};
use pooler::auth::scram::{Binding, MECHANISM, ScramKeys};
use pooler::protocol::frame::header;
use pooler::protocol::frontend::{
    write_empty, write_password, write_query, write_ssl_request, write_startup,
};
use pooler::protocol::startup::PROTOCOL_3_0;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Failure = Box<dyn Error + Send + Sync>;

/// As pgbench is given: one would be the bottleneck, more would take CPU from the poolers.
const THREADS: usize = 2;

const READ_BYTES: usize = 8_192;

struct Load {
    port: u16,
    clients: usize,
    seconds: Duration,
    each_logs_in: bool,
    user: String,
    password: PlainText,
    database: String,
    tls: TlsConnector,
    keys: OnceLock<ScramKeys>,
}

struct Client {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

fn main() -> ExitCode {
    match Load::from_arguments().and_then(|load| run(&Arc::new(load))) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tls_load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(load: &Arc<Load>) -> Result<String, Failure> {
    let begun = Instant::now();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let load = Arc::clone(load);
            std::thread::spawn(move || load.share(thread))
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a thread failed")??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let percentile =
        |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(format!("{} {seconds} {} {}", times.len(), ms(percentile(50)), ms(percentile(99))))
}

impl Load {
    fn from_arguments() -> Result<Self, Failure> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [port, clients, seconds, what] = arguments.as_slice() else {
            return Err("usage: tls_load PORT CLIENTS SECONDS logins|queries".into());
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Believing))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            port: port.parse()?,
            clients: clients.parse()?,
            seconds: Duration::from_secs(seconds.parse()?),
            each_logs_in: what == "logins",
            user: std::env::var("PGUSER")?,
            password: PlainText::new(std::env::var("PGPASSWORD")?.as_bytes()),
            database: std::env::var("PGDATABASE")?,
            tls: TlsConnector::from(Arc::new(config)),
            keys: OnceLock::new(),
        })
    }

    /// One thread's share of the clients.
    fn share(self: Arc<Self>, thread: usize) -> Result<Vec<Duration>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let clients = (thread..self.clients).step_by(THREADS);
        runtime.block_on(async {
            let clients: Vec<_> =
                clients.map(|_| tokio::spawn(Arc::clone(&self).client())).collect();
            let mut times = Vec::new();
            for client in clients {
                times.extend(client.await??);
            }
            Ok(times)
        })
    }

    async fn client(self: Arc<Self>) -> Result<Vec<Duration>, Failure> {
        let (mut times, end) = (Vec::new(), Instant::now() + self.seconds);
        let mut kept = if self.each_logs_in { None } else { Some(Client::log_in(&self).await?) };
        loop {
            let begun = Instant::now();
            if begun >= end {
                return Ok(times);
            }
            match &mut kept {
                Some(client) => client.select_1().await?,
                None => {
                    let mut client = Client::log_in(&self).await?;
                    client.select_1().await?;
                    client.leave().await?;
                }
            }
            times.push(begun.elapsed());
        }
    }

    fn keys(&self, challenge: &Challenge) -> &ScramKeys {
        self.keys.get_or_init(|| challenge.derivation(&self.password).run())
    }
}

impl Client {
    async fn log_in(load: &Load) -> Result<Self, Failure> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, load.port)).await?;
        socket.set_nodelay(true)?;
        let mut message = Vec::new();
        write_ssl_request(&mut message);
        socket.write_all(&message).await?;
        if socket.read_u8().await? != b'S' {
            return Err("there is no TLS".into());
        }
        let stream = load.tls.connect(ServerName::try_from("localhost")?, socket).await?;
        let mut client = Self { stream, buffer: Vec::with_capacity(READ_BYTES) };
        message.clear();
        write_startup(
            &mut message,
            PROTOCOL_3_0,
            &[("user", &load.user), ("database", &load.database)],
        );
        client.stream.write_all(&message).await?;
        client.prove(load).await?;
        client.until_ready().await?;
        Ok(client)
    }

    /// SCRAM, up to the proof: what follows comes with the welcome.
    async fn prove(&mut self, load: &Load) -> Result<(), Failure> {
        let _mechanisms = self.challenge().await?;
        let (exchange, first) = begin(Binding::Unsupported);
        let length = u32::try_from(first.len())?.to_be_bytes();
        self.say(&[MECHANISM.as_bytes(), b"\0", &length, first.as_bytes()].concat()).await?;
        let challenge = exchange.server_first(&self.challenge().await?)?;
        let keys = load.keys(&challenge);
        let (_, last) = challenge.answer(keys);
        self.say(last.as_bytes()).await
    }

    async fn say(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut message = Vec::new();
        write_password(&mut message, body);
        Ok(self.stream.write_all(&message).await?)
    }

    /// What an authentication request says.
    async fn challenge(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(head) = header(&self.buffer)?
                && self.buffer.len() >= head.frame_length()
            {
                let frame: Vec<u8> = self.buffer.drain(..head.frame_length()).collect();
                return match head.tag {
                    b'R' => Ok(frame[9..].to_vec()),
                    _ => Err(String::from_utf8_lossy(&frame).into()),
                };
            }
            self.read().await?;
        }
    }

    async fn select_1(&mut self) -> Result<(), Failure> {
        let mut message = Vec::new();
        write_query(&mut message, "SELECT 1");
        self.stream.write_all(&message).await?;
        self.until_ready().await
    }

    async fn leave(&mut self) -> Result<(), Failure> {
        let mut message = Vec::new();
        write_empty(&mut message, b'X');
        self.stream.write_all(&message).await?;
        Ok(self.stream.shutdown().await?)
    }

    async fn until_ready(&mut self) -> Result<(), Failure> {
        loop {
            while let Some(head) = header(&self.buffer)?
                && self.buffer.len() >= head.frame_length()
            {
                let frame = self.buffer.drain(..head.frame_length());
                match head.tag {
                    b'Z' => return Ok(()),
                    b'E' => return Err(String::from_utf8_lossy(frame.as_slice()).into()),
                    _ => {}
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the connection was closed".into()),
            _ => Ok(()),
        }
    }
}

/// Checks nothing.
#[derive(Debug)]
struct Believing;

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
