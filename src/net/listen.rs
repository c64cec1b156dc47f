//! Listening sockets for clients.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{SocketFlags, accept_with, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::address::ClientAddress;
use super::keepalive::Keepalive;
use super::loopback::unpace;
use super::socket::DetachedSocket;
use super::stream::Detached;

/// A listening socket, on its way to the worker that accepts.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket; its file is removed on drop.
    Unix(UnixListener, SocketFile),
}

/// A listening socket, registered with the runtime of the worker that accepts.
///
/// Not tokio's own listeners: those register each accepted socket with the runtime that accepts,
/// and here another one may serve it.
#[derive(Debug)]
pub enum Listening {
    /// TCP.
    Tcp(AsyncFd<TcpListener>),
    /// A Unix socket.
    Unix(AsyncFd<UnixListener>, SocketFile),
}

/// Accepted sockets never block, and no child process gets them.
const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// The file of a Unix socket, removed by the first drop. Another process may have made its own by the second.
///
/// There is one with the socket, and one for who sees to it that the file goes however the program ends: the thread that
/// has the socket may never come to its end.
#[derive(Debug, Clone)]
pub struct SocketFile {
    path: PathBuf,
    is_there: Arc<AtomicBool>,
}

impl Listener {
    /// Listens on a TCP address. What is set on the listening socket, every accepted one inherits:
    /// `TCP_NODELAY` and keepalive cost a login nothing.
    ///
    /// # Errors
    /// As bind and listen: in use, not permitted, no such address.
    pub fn tcp(address: SocketAddr, backlog: u32, keepalive: &Keepalive) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `*` listens on both families with a socket each.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.set_tcp_nodelay(true)?;
        keepalive.apply_to(&SockRef::from(&socket))?;
        unpace(&SockRef::from(&socket), address);
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(Self::Tcp(socket.into()))
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
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        let file = SocketFile { path, is_there: Arc::new(AtomicBool::new(true)) };
        Ok(Self::Unix(listener, file))
    }

    /// The socket's file, if it has one.
    #[must_use]
    pub fn file(&self) -> Option<SocketFile> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(_, file) => Some(file.clone()),
        }
    }

    /// Registers it with the runtime of the thread that calls.
    ///
    /// # Errors
    /// When the system's poller has no place for it.
    pub fn attach(self) -> io::Result<Listening> {
        Ok(match self {
            Self::Tcp(listener) => Listening::Tcp(watch(listener)?),
            Self::Unix(listener, file) => Listening::Unix(watch(listener)?, file),
        })
    }

    /// Where it listens, for the log.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "tcp".to_owned(), |a| a.to_string())
            }
            Self::Unix(_, file) => file.path.display().to_string(),
        }
    }
}

impl Listening {
    /// Waits for the next client. Cancel safe.
    ///
    /// # Errors
    /// When the system has no file descriptor left, among others; listening goes on.
    pub async fn accept(&self) -> io::Result<(Detached, ClientAddress)> {
        match self {
            Self::Tcp(listener) => {
                let accept =
                    |socket: &TcpListener| acceptfrom_with(socket, FLAGS).map_err(io::Error::from);
                let (socket, address) = listener.async_io(Interest::READABLE, accept).await?;
                let address = address.and_then(|a| SocketAddr::try_from(a).ok());
                let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
                Ok((DetachedSocket::Tcp(socket.into()).into(), ClientAddress::Tcp(address)))
            }
            Self::Unix(listener, _) => {
                let accept =
                    |socket: &UnixListener| accept_with(socket, FLAGS).map_err(io::Error::from);
                let socket = listener.async_io(Interest::READABLE, accept).await?;
                Ok((DetachedSocket::Unix(socket.into()).into(), ClientAddress::Unix))
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there.swap(false, Ordering::Relaxed) {
            // Nothing can be done about a file that will not go.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[expect(
    deprecated,
    reason = "the successor is unsafe, for sockets that close themselves; ours own theirs for life"
)]
fn watch<T: std::os::fd::AsRawFd>(listener: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_socket_goes_with_whoever_is_first_to_drop_it_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let listen = || Listener::unix(folder.path(), 6432, 0o600).unwrap();
        let path = folder.path().join(".s.PGSQL.6432");
        // A thread that never comes to its end keeps its listener.
        let stuck = listen();
        drop(stuck.file());
        assert!(!path.exists());
        // The socket of whoever came after stays.
        let next = listen();
        drop(stuck);
        assert!(path.exists());
        let file = next.file();
        drop(next);
        assert!(!path.exists());
        let last = listen();
        drop(file);
        assert!(path.exists());
        drop(last);
        assert!(!path.exists());
    }
}
