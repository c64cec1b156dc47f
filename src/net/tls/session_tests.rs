//! Two sessions of ours against each other: what a stream promises holds with TLS above the socket.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm,
};
use rustls::crypto::ring;
use rustls::{CipherSuite, ClientConfig, ClientConnection, NamedGroup, RootCertStore};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::acceptor::Handshakes;
use super::connector::Connector;
use super::material::TlsMaterial;
use super::session::TlsSession;
use crate::config::{Config, ServerTls, SslMode};
use crate::net::stream::Stream;

/// A certificate and trust in it on both sides; clients are asked for theirs where `asks` says so.
fn material(asks: Asks, algorithm: &'static SignatureAlgorithm) -> TlsMaterial {
    let folder = tempfile::tempdir().unwrap();
    let signing_key = KeyPair::generate_for(algorithm).unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = cert.self_signed(&signing_key).unwrap();
    let write = |name: &str, text: String| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut settings = Config::default().tls;
    settings.client_tls_sslmode = SslMode::Require;
    settings.client_tls_cert_file = Some(write("cert.pem", cert.pem()));
    settings.client_tls_key_file = Some(write("key.pem", signing_key.serialize_pem()));
    settings.server_tls_ca_file = settings.client_tls_cert_file.clone();
    settings.client_tls_ca_file = match asks {
        Asks::Nothing => None,
        Asks::Certificate => settings.client_tls_cert_file.clone(),
    };
    TlsMaterial::load(&settings).unwrap()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    Certificate,
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// The client's and the server's session.
fn sessions(material: &TlsMaterial) -> (TlsSession, TlsSession) {
    let answers = material.acceptor().unwrap().session(&turns(1)).unwrap();
    (connector(material).session("localhost").unwrap(), answers)
}

fn connector(material: &TlsMaterial) -> Connector {
    material.connector(ServerTls::asking(SslMode::VerifyFull))
}

fn turns(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits))
}

/// A client and a server that have shaken hands, and what carries them.
fn with_pair(test: impl AsyncFnOnce(Stream, Stream)) {
    let material = material(Asks::Nothing, &PKCS_ECDSA_P256_SHA256);
    block_on(async {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut client, mut server) = (Stream::from(one), Stream::from(other));
        let (asks, answers) = sessions(&material);
        let (asked, answered) =
            tokio::join!(client.start_tls(asks, &[]), server.start_tls(answers, &[]));
        asked.unwrap();
        answered.unwrap();
        test(client, server).await;
    });
}

/// Long enough for what is not waiting for something else.
const A_WHILE: Duration = Duration::from_millis(50);

async fn shake_hands(mut stream: Stream, session: TlsSession) -> Stream {
    stream.start_tls(session, &[]).await.unwrap();
    stream
}

#[test]
fn what_costs_in_a_handshake_waits_for_its_turn_beside_the_worker() {
    let slow = (Asks::Nothing, &PKCS_ECDSA_P384_SHA384);
    for (asks, key) in [slow, (Asks::Certificate, &PKCS_ECDSA_P256_SHA256)] {
        let material = material(asks, key);
        block_on(async {
            let (Handshakes::SignAside(turns) | Handshakes::AllAside(turns)) =
                &material.acceptor().unwrap().handshakes
            else {
                panic!("the worker computes it")
            };
            let all = u32::try_from(turns.available_permits()).unwrap();
            let take_all = || Arc::clone(turns).acquire_many_owned(all);
            let held = take_all().await.unwrap();
            let (one, other) = UnixStream::pair().unwrap();
            let (session, answers) = sessions(&material);
            let client = tokio::spawn(shake_hands(one.into(), session));
            let server = tokio::spawn(shake_hands(other.into(), answers));
            sleep(A_WHILE).await;
            assert!(!client.is_finished(), "the server had no turn to sign");
            // One turn for the server, and no second one.
            let again = tokio::spawn(take_all());
            sleep(A_WHILE).await;
            drop(held);
            let (_client, again) = (client.await.unwrap(), again.await.unwrap().unwrap());
            sleep(A_WHILE).await;
            assert!(asks == Asks::Nothing || !server.is_finished());
            if asks == Asks::Certificate {
                drop(again);
            }
            server.await.unwrap();
        });
    }
}

/// A client that has said hello, as far as that has gone into its socket.
fn hello(config: Arc<ClientConfig>) -> (std::os::unix::net::UnixStream, UnixStream) {
    let (mut client, server) = std::os::unix::net::UnixStream::pair().unwrap();
    let name = "localhost".try_into().unwrap();
    let mut says = ClientConnection::new(config, name).unwrap();
    says.write_tls(&mut client).unwrap();
    client.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    (client, UnixStream::from_std(server).unwrap())
}

#[test]
fn a_worker_signs_once_each_time_round() {
    const CLIENTS: usize = 8;
    let material = material(Asks::Nothing, &PKCS_ECDSA_P256_SHA256);
    let acceptor = Arc::clone(material.acceptor().unwrap());
    assert!(matches!(acceptor.handshakes, Handshakes::OnWorker));
    block_on(async {
        let turns = turns(1);
        let mut waiting: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (client, server) = hello(connector(&material).config());
                tokio::spawn(shake_hands(server.into(), acceptor.session(&turns).unwrap()));
                client
            })
            .collect();
        let mut rounds = 0;
        while !waiting.is_empty() {
            let before = waiting.len();
            yield_now().await;
            waiting.retain_mut(|client| client.read(&mut [0; 8]).is_err());
            assert!(before - waiting.len() <= 1, "{} signed at once", before - waiting.len());
            rounds += 1;
            assert!(rounds < 1_000, "{} never had their turn", waiting.len());
        }
    });
}

/// A client that offers nothing but this curve.
fn on_curve(curve: NamedGroup) -> Arc<ClientConfig> {
    let mut provider = ring::default_provider();
    provider.kx_groups.retain(|group| group.name() == curve);
    let config = ClientConfig::builder_with_provider(provider.into());
    let config = config.with_safe_default_protocol_versions().unwrap();
    config.with_root_certificates(RootCertStore::empty()).with_no_client_auth().into()
}

#[test]
fn a_worker_does_not_compute_on_slow_curves() {
    const HANDSHAKE: u8 = 22;
    const ALERT: u8 = 21;
    for (key, curve, answered) in [
        (&PKCS_ECDSA_P256_SHA256, NamedGroup::secp384r1, ALERT),
        (&PKCS_ECDSA_P256_SHA256, NamedGroup::secp256r1, HANDSHAKE),
        (&PKCS_ECDSA_P384_SHA384, NamedGroup::secp384r1, HANDSHAKE),
    ] {
        let material = material(Asks::Nothing, key);
        block_on(async {
            let (mut client, server) = hello(on_curve(curve));
            let mut server = Stream::from(server);
            let answers = material.acceptor().unwrap().session(&turns(1)).unwrap();
            let _ = timeout(A_WHILE, server.start_tls(answers, &[])).await;
            let mut first = [0];
            client.read_exact(&mut first).unwrap();
            assert_eq!(first[0], answered, "{curve:?}");
        });
    }
}

#[test]
fn half_a_hello_holds_nobody_up() {
    let material = material(Asks::Nothing, &PKCS_ECDSA_P256_SHA256);
    let acceptor = Arc::clone(material.acceptor().unwrap());
    block_on(async {
        let (turns, ran) = (turns(1), Rc::new(Cell::new(0)));
        let (mut client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        client.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").unwrap();
        let mut server = Stream::from(UnixStream::from_std(server).unwrap());
        let answers = acceptor.session(&turns).unwrap();
        let shaking = server.start_tls(answers, &[]);
        let shaking = timeout(A_WHILE, shaking);
        let watching = async {
            // As soon as it has been read, and at no time before.
            while ran.get() < 50 {
                yield_now().await;
                assert_eq!(turns.available_permits(), 1);
                ran.set(ran.get() + 1);
            }
        };
        let (shaken, ()) = tokio::join!(shaking, watching);
        assert!(shaken.is_err(), "the rest never came");
    });
}

#[test]
fn what_processors_have_instructions_for_is_agreed_on() {
    const SUITE: usize = 5 + 4 + 2 + 32 + 1 + 32;
    let material = material(Asks::Nothing, &PKCS_ECDSA_P256_SHA256);
    let config = ClientConfig::builder_with_provider(ring::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let first = config.crypto_provider().cipher_suites[0].suite();
    assert_eq!(first, CipherSuite::TLS13_AES_256_GCM_SHA384, "what the client would rather have");
    block_on(async {
        let (mut client, server) = hello(config.into());
        let answers = material.acceptor().unwrap().session(&turns(1)).unwrap();
        tokio::spawn(shake_hands(server.into(), answers));
        sleep(A_WHILE).await;
        let mut answer = [0; SUITE + 2];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer[SUITE..], [0x13, 0x01], "TLS_AES_128_GCM_SHA256");
    });
}

async fn read(stream: &mut Stream, buffer: &mut [u8]) -> usize {
    poll_fn(|cx| stream.poll_read(cx, buffer)).await.unwrap()
}

fn now() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn plaintext_that_is_left_is_seen_and_read_without_the_socket() {
    with_pair(async |mut client, mut server| {
        client.write_all(b"two words").await.unwrap();
        let mut small = [0; 3];
        assert_eq!(read(&mut server, &mut small).await, 3);
        assert!(server.seems_readable());
        let mut server = server.detach().unwrap().attach().unwrap();
        assert!(server.seems_readable(), "what is left goes along to another runtime");
        let mut rest = [0; 20];
        let length = read(&mut server, &mut rest).await;
        assert_eq!(&rest[..length], b" words");
        assert!(server.poll_read(&mut now(), &mut rest).is_pending());
        assert!(!server.seems_readable());
    });
}

#[test]
fn what_is_reported_as_written_has_gone_out() {
    with_pair(async |mut client, mut server| {
        // Until the socket takes no more; then nothing of the last piece is reported.
        let piece = vec![7; 50_000];
        let mut sent = 0;
        while let Poll::Ready(length) = client.poll_write(&mut now(), &piece) {
            sent += length.unwrap();
        }
        assert!(sent > 0);
        let mut buffer = vec![0; 128 * 1024];
        let mut got = 0;
        while got < sent {
            got += read(&mut server, &mut buffer).await;
        }
        // The same piece again: what was encrypted of it is not encrypted twice.
        let (written, ()) = tokio::join!(client.write_all(&piece), async {
            while got < sent + piece.len() {
                got += read(&mut server, &mut buffer).await;
            }
        });
        written.unwrap();
        assert_eq!(got, sent + piece.len());
        assert!(server.poll_read(&mut now(), &mut buffer).is_pending());
    });
}

#[test]
fn an_end_is_an_end_with_and_without_a_word() {
    with_pair(async |mut client, mut server| {
        client.write_all(b"bye").await.unwrap();
        client.say_end();
        let mut buffer = [0; 8];
        assert_eq!(read(&mut server, &mut buffer).await, 3);
        assert_eq!(read(&mut server, &mut buffer).await, 0);
        // The other direction is still open.
        server.write_all(b"late").await.unwrap();
        assert_eq!(read(&mut client, &mut buffer).await, 4);
    });
    for size in [8, 128 * 1024] {
        with_pair(async |client, mut server| {
            drop(client);
            assert_eq!(read(&mut server, &mut vec![0; size]).await, 0);
        });
    }
}

#[test]
fn bytes_that_are_not_of_the_session_are_an_error() {
    with_pair(async |client, mut server| {
        let socket = client.detach().unwrap().into_socket();
        let mut clear = Stream::from(socket.attach().unwrap());
        clear.write_all(b"Q\0\0\0\x0dSELECT 1\0").await.unwrap();
        let mut buffer = [0; 64];
        let error = poll_fn(|cx| server.poll_read(cx, &mut buffer)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    });
}
