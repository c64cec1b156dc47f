//! Where a server is, and who a client is: addresses as people write and read them.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};

use super::loopback::unpace;
use super::stream::Stream;

/// Where Postgres listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A host name or IP address, and a port. Names are resolved at each connect, so that a change
    /// in the name service is followed.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A Unix socket's file.
    Unix(PathBuf),
}

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket, which has no address worth telling.
    Unix,
}

impl ServerAddress {
    /// `host` as in the configuration (a leading slash makes it a socket folder) and a port.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        if host.starts_with('/') {
            // The file's name is Postgres' own: UNIXSOCK_PATH in libpq/pqcomm.h.
            Self::Unix(PathBuf::from(host).join(format!(".s.PGSQL.{port}")))
        } else {
            Self::Tcp { host: host.to_owned(), port }
        }
    }

    /// Connects, trying every address of a name in turn. Cancel safe.
    ///
    /// # Errors
    /// When the name cannot be resolved, or with the last address' reason.
    pub async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).await.map(Stream::from),
            Self::Tcp { host, port } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in resolve(host, *port).await? {
                    match connect_tcp(address).await {
                        Ok(stream) => return Ok(stream.into()),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    unpace(&SockRef::from(&socket), address);
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    // An address needs no resolver, and so no thread.
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    Ok(lookup_host((host, port)).await?.collect())
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl ClientAddress {
    /// Does the client run on this machine, so that nobody can listen in between?
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix => true,
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_unix_socket() {
        let address = ServerAddress::new("/run/postgresql", 5433);
        assert_eq!(address.to_string(), "/run/postgresql/.s.PGSQL.5433");
    }

    #[test]
    fn addresses_print_so_that_they_can_be_read_back() {
        assert_eq!(ServerAddress::new("::1", 5432).to_string(), "[::1]:5432");
        assert_eq!(ServerAddress::new("db", 5432).to_string(), "db:5432");
    }

    #[test]
    fn loopback_is_local_mapped_too() {
        for (ip, local) in
            [("127.0.0.9:1", true), ("[::1]:1", true), ("[::ffff:127.0.0.1]:1", true)]
        {
            assert_eq!(ClientAddress::Tcp(ip.parse().unwrap()).is_local(), local, "{ip}");
        }
        assert!(!ClientAddress::Tcp("192.0.2.1:1".parse().unwrap()).is_local());
        assert!(ClientAddress::Unix.is_local());
    }
}
