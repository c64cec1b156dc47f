//! Addresses, hosts and paths as the configuration writes them. Nothing is resolved or opened here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::fault::{Conflict, Problem};
use super::kind::{Input, Kind, Literal};

/// Where a database's Postgres is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, to be resolved at each connect.
    Name(String),
    /// An IP address.
    Address(IpAddr),
    /// The folder of a Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
            Self::Socket(folder) => write!(f, "{}", folder.display()),
        }
    }
}

/// The file name of Postgres' Unix socket within its folder, for a port.
pub fn socket_file_name(port: u16) -> String {
    format!(".s.PGSQL.{port}")
}

/// What `sun_path` of unix(7) holds (108 bytes), less the closing zero byte and the longest
/// [`socket_file_name`] with its slash.
pub const MAX_SOCKET_FOLDER_BYTES: usize = 107 - "/.s.PGSQL.65535".len();

/// The longest name that DNS carries (RFC 1035, section 2.3.4).
const MAX_HOST_NAME_BYTES: usize = 253;

/// A database's host.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostName;

impl Kind for HostName {
    type Value = Host;

    fn read(&self, input: Input<'_>) -> Result<Host, Problem> {
        const EXPECTED: &str = "a host name, an IP address or the folder of a socket";
        let given = input.filled(EXPECTED)?.trim();
        if given.contains("://") {
            return Err(Conflict::Url.into());
        }
        if given.contains(',') {
            return Err(Conflict::SeveralHosts.into());
        }
        if given.starts_with('/') {
            return folder(given).map(Host::Socket);
        }
        if let Ok(address) = given.parse() {
            return Ok(Host::Address(address));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if given.len() <= MAX_HOST_NAME_BYTES && given.starts_with(fits) && given.chars().all(fits)
        {
            Ok(Host::Name(given.to_owned()))
        } else {
            Err(Problem::NotA { given: given.to_owned(), expected: EXPECTED })
        }
    }

    fn show(&self, value: &Host) -> Option<Literal> {
        Some(Literal::text(&value.to_string()))
    }
}

/// The addresses to listen on: a comma list, `*` for every IPv4 and IPv6 address, empty for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListenAddresses;

/// What `*` stands for.
const EVERY_ADDRESS: [IpAddr; 2] =
    [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];

impl Kind for ListenAddresses {
    type Value = Vec<IpAddr>;

    fn read(&self, input: Input<'_>) -> Result<Vec<IpAddr>, Problem> {
        const EXPECTED: &str = "an IP address, localhost or *";
        let mut addresses: Vec<IpAddr> = Vec::new();
        for given in parts(input.text(EXPECTED)?) {
            match given {
                "*" => addresses.extend(EVERY_ADDRESS),
                "localhost" => addresses.push(Ipv4Addr::LOCALHOST.into()),
                given => {
                    addresses.push(given.parse().map_err(|_| Problem::NotA {
                        given: given.to_owned(),
                        expected: EXPECTED,
                    })?)
                }
            }
        }
        Ok(without_covered(addresses))
    }

    fn show(&self, value: &Vec<IpAddr>) -> Option<Literal> {
        Some(if *value == EVERY_ADDRESS {
            Literal::text("*")
        } else {
            Literal::text(&value.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "))
        })
    }
}

/// The addresses of the admin API: a comma list of `address:port`, empty for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdminAddresses;

impl Kind for AdminAddresses {
    type Value = Vec<SocketAddr>;

    fn read(&self, input: Input<'_>) -> Result<Vec<SocketAddr>, Problem> {
        const EXPECTED: &str = "an address with a port, such as 127.0.0.1:6433 or [::1]:6433";
        let mut addresses = Vec::new();
        for given in parts(input.text(EXPECTED)?) {
            let numeric = match given.strip_prefix("localhost:") {
                Some(port) => format!("127.0.0.1:{port}"),
                None => given.to_owned(),
            };
            let address: SocketAddr = numeric
                .parse()
                .map_err(|_| Problem::NotA { given: given.to_owned(), expected: EXPECTED })?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    fn show(&self, value: &Vec<SocketAddr>) -> Option<Literal> {
        let all: Vec<_> = value.iter().map(SocketAddr::to_string).collect();
        Some(Literal::text(&all.join(", ")))
    }
}

/// The folder to put a Unix socket in; empty for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketFolder;

impl Kind for SocketFolder {
    type Value = Option<PathBuf>;

    fn read(&self, input: Input<'_>) -> Result<Option<PathBuf>, Problem> {
        match input.text(FOLDER)? {
            "" => Ok(None),
            given => folder(given).map(Some),
        }
    }

    fn show(&self, value: &Option<PathBuf>) -> Option<Literal> {
        Some(path_literal(value.as_deref()))
    }
}

/// A file's path; empty for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct FilePath;

impl Kind for FilePath {
    type Value = Option<PathBuf>;

    fn read(&self, input: Input<'_>) -> Result<Option<PathBuf>, Problem> {
        let given = input.text("the path of a file")?;
        Ok((!given.is_empty()).then(|| PathBuf::from(given)))
    }

    fn show(&self, value: &Option<PathBuf>) -> Option<Literal> {
        Some(path_literal(value.as_deref()))
    }
}

/// A file mode in octal digits, as text: TOML's own `0777` would be an error, and `777` ambiguous.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileMode;

impl Kind for FileMode {
    type Value = u32;

    fn read(&self, input: Input<'_>) -> Result<u32, Problem> {
        const EXPECTED: &str = "a file mode in octal digits, as text, such as \"0770\"";
        let given = input.text(EXPECTED)?;
        let wrong = || Problem::NotA { given: given.to_owned(), expected: EXPECTED };
        if !given.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        u32::from_str_radix(given, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(wrong)
    }

    fn show(&self, value: &u32) -> Option<Literal> {
        Some(Literal::text(&format!("{value:04o}")))
    }
}

const FOLDER: &str = "the absolute path of a folder";

fn folder(given: &str) -> Result<PathBuf, Problem> {
    if !given.starts_with('/') {
        return Err(Problem::NotA { given: given.to_owned(), expected: FOLDER });
    }
    if given.len() > MAX_SOCKET_FOLDER_BYTES {
        return Err(Conflict::SocketPathTooLong { limit: MAX_SOCKET_FOLDER_BYTES }.into());
    }
    Ok(PathBuf::from(given))
}

fn path_literal(path: Option<&Path>) -> Literal {
    Literal::text(&path.map(|path| path.display().to_string()).unwrap_or_default())
}

/// The parts of a comma list, without empty ones.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Each address once, and none that a wildcard of its family listens on already: binding would fail.
fn without_covered(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let wildcards: Vec<IpAddr> =
        EVERY_ADDRESS.into_iter().filter(|wildcard| addresses.contains(wildcard)).collect();
    let covered = |address: &IpAddr| {
        wildcards
            .iter()
            .any(|wildcard| wildcard.is_ipv4() == address.is_ipv4() && !address.is_unspecified())
    };
    let mut kept: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if !covered(&address) && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<Vec<IpAddr>, Problem> {
        ListenAddresses.read(Input::Text(text))
    }

    #[test]
    fn a_star_is_every_address_of_both_families_and_covers_the_others() {
        assert_eq!(listen("*"), Ok(EVERY_ADDRESS.to_vec()));
        assert_eq!(listen("127.0.0.1, *, ::1, 127.0.0.1"), Ok(EVERY_ADDRESS.to_vec()));
        assert_eq!(listen("0.0.0.0, 10.0.0.1, ::1").map(|all| all.len()), Ok(2));
        assert_eq!(ListenAddresses.show(&EVERY_ADDRESS.to_vec()), Some(Literal::text("*")));
    }

    #[test]
    fn a_list_is_read_in_order_and_empty_is_none() {
        let expected = vec!["::1".parse().unwrap(), IpAddr::V4(Ipv4Addr::LOCALHOST)];
        assert_eq!(listen("::1, localhost,"), Ok(expected));
        assert_eq!(listen(""), Ok(vec![]));
        assert!(matches!(listen("db.example.com"), Err(Problem::NotA { .. })));
    }

    #[test]
    fn an_admin_address_has_a_port() {
        let read = |text| AdminAddresses.read(Input::Text(text));
        assert_eq!(read("localhost:1, [::1]:2").map(|all| all.len()), Ok(2));
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("0.0.0.0:6433,0.0.0.0:6433").map(|all| all.len()), Ok(1));
        assert!(matches!(read("127.0.0.1"), Err(Problem::NotA { .. })));
    }

    #[test]
    fn a_host_is_a_name_an_address_or_a_folder() {
        let read = |text: &str| HostName.read(Input::Text(text));
        assert_eq!(read("db-1.example.com"), Ok(Host::Name("db-1.example.com".to_owned())));
        assert_eq!(read("::1"), Ok(Host::Address(Ipv6Addr::LOCALHOST.into())));
        assert_eq!(read("/run/postgresql"), Ok(Host::Socket("/run/postgresql".into())));
        assert_eq!(read(""), Err(Problem::Empty));
        assert_eq!(read("a,b"), Err(Conflict::SeveralHosts.into()));
        for no_host in ["db 1", "@abstract", "db:5432", &"x".repeat(254)] {
            assert!(matches!(read(no_host), Err(Problem::NotA { .. })), "{no_host}");
        }
    }

    #[test]
    fn a_socket_folder_is_absolute_and_leaves_room_for_the_file_name() {
        let read = |text: &str| SocketFolder.read(Input::Text(text));
        let longest = format!("/{}", "x".repeat(MAX_SOCKET_FOLDER_BYTES - 1));
        assert_eq!(read(&longest), Ok(Some(PathBuf::from(&longest))));
        assert_eq!(longest.len() + 1 + socket_file_name(u16::MAX).len(), 107);
        assert!(matches!(read(&format!("{longest}x")), Err(Problem::Conflict(_))));
        assert!(matches!(read("tmp"), Err(Problem::NotA { .. })));
        assert_eq!(read(""), Ok(None));
    }

    #[test]
    fn a_file_mode_is_octal_text() {
        let read = |text| FileMode.read(Input::Text(text));
        assert_eq!((read("0770"), read("600")), (Ok(0o770), Ok(0o600)));
        for no_mode in ["", "0888", "1777", "rwx", "+7"] {
            assert!(read(no_mode).is_err(), "{no_mode}");
        }
        assert!(FileMode.read(Input::Whole(777)).is_err());
        assert_eq!(FileMode.show(&0o70), Some(Literal::text("0070")));
    }
}
