//! Listening sockets for clients.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::address::ClientAddress;
use super::stream::{Detached, Stream};

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket; its file is removed on drop.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket, removed on drop.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Listener {
    /// Listens on a TCP address.
    ///
    /// # Errors
    /// As bind and listen: in use, not permitted, no such address.
    pub fn tcp(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `*` listens on both families with a socket each.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(Self::Tcp(TcpListener::from_std(socket.into())?))
    }

    /// Listens on the Unix socket for `port` in `folder`, with file permissions `mode`.
    ///
    /// # Errors
    /// When another process listens there, or the folder cannot be written.
    pub fn unix(folder: &Path, port: u16, mode: u32) -> io::Result<Self> {
        let path = folder.join(format!(".s.PGSQL.{port}"));
        if is_socket(&path) {
            if std::os::unix::net::UnixStream::connect(&path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens"));
            }
            // Left behind by a process that is gone.
            std::fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        Ok(Self::Unix(listener, SocketFile(path)))
    }

    /// Waits for the next client. Cancel safe.
    ///
    /// # Errors
    /// When the system has no file descriptor left, among others; listening goes on.
    pub async fn accept(&self) -> io::Result<(Detached, ClientAddress)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream).detach()?, ClientAddress::Tcp(address)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream).detach()?, ClientAddress::Unix))
            }
        }
    }

    /// Where it listens, for the log.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "tcp".to_owned(), |a| a.to_string())
            }
            Self::Unix(_, file) => file.0.display().to_string(),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing can be done about a file that will not go.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
}
