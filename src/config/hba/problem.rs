//! What can be wrong with a line of an HBA or ident file. Where Postgres has words for it, they are nearly these.

use thiserror::Error;

/// What is wrong with the line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HbaProblem {
    /// A quote is open at the end of the line.
    #[error("a double quote is not closed")]
    Unclosed,
    /// A zero byte, which no name can hold.
    #[error("a zero byte is in the line")]
    ZeroByte,
    /// Files include one another without end.
    #[error("files include one another more than {0} deep")]
    TooDeep(usize),
    /// More than can be gone through at every login.
    #[error("more than {0} lines and names, all files together")]
    TooMuch(usize),
    /// `include` with nothing or several things behind it.
    #[error("{0} needs the name of one file or folder")]
    OneFile(&'static str),
    /// The first word is none of the connection types.
    #[error("{0:?} is none of: local, host, hostssl, hostnossl, hostnogssenc")]
    Type(String),
    /// A line for GSSAPI.
    #[error("hostgssenc can match nobody: GSSAPI is not spoken here")]
    Gss,
    /// The line ends early.
    #[error("the line ends before the {0}")]
    EndsBefore(&'static str),
    /// A comma where one thing is needed.
    #[error("only one {0} is possible")]
    Several(&'static str),
    /// A keyword that needs to know of roles.
    #[error(
        "{0} needs to know Postgres' roles, which the pooler does not: name the users or use a pattern such as /^app_"
    )]
    Roles(String),
    /// A host name.
    #[error(
        "{0:?} is no IP address; host names are not looked up: write an address or a CIDR range"
    )]
    HostName(String),
    /// The number behind the slash.
    #[error("invalid CIDR mask in address {0:?}")]
    Cidr(String),
    /// The mask is no address, or of the other family.
    #[error("invalid IP mask {0:?}")]
    Mask(String),
    /// No such method.
    #[error(
        "{0:?} is none of: trust, reject, password, md5, scram-sha-256, cert, peer, oauth, passthrough"
    )]
    Method(String),
    /// A method of Postgres that is not here.
    #[error("the method {0} is not here")]
    MethodNotHere(&'static str),
    /// A method that the connection type excludes.
    #[error("{0} is only possible for {1} lines")]
    MethodFor(&'static str, &'static str),
    /// What stands behind the method is no option.
    #[error("{0:?} is no option NAME=VALUE")]
    NoOption(String),
    /// An option that is not known.
    #[error("{0:?} is none of the options map and clientcert")]
    Option(String),
    /// An option that means nothing with the method or type.
    #[error("{0} is only possible for {1}")]
    OptionFor(&'static str, &'static str),
    /// The value of `clientcert`.
    #[error("{0:?} is none of: verify-ca, verify-full")]
    ClientCert(String),
    /// The method `cert` looks at the name anyway.
    #[error("with the method cert, clientcert can only be verify-full")]
    CertIsFull,
    /// No CA to check certificates by.
    #[error("certificates can only be checked with client_tls_ca_file in [tls]")]
    NoAuthority,
    /// No issuer whose tokens could be checked.
    #[error("the method oauth needs issuer and jwks_file in [oauth]")]
    NoIssuer,
    /// An option that Postgres has here.
    #[error("{0} is not an option here: [oauth] says which tokens are taken")]
    OptionElsewhere(String),
    /// A map that no file has.
    #[error("the map {0:?} is not in auth_ident_file")]
    NoMap(String),
    /// A regular expression that cannot be read.
    #[error("{0:?} is no regular expression")]
    Pattern(String),
    /// `\1` without anything in parentheses.
    #[error("{0:?} has nothing in parentheses for the \\1")]
    NoGroup(String),
    /// `\1` of an expression that finds more than one way.
    #[error(
        "{0:?} has a | and a \\1: the first alternative would count, and in Postgres the longest; write a line for each"
    )]
    Alternatives(String),
    /// An ident line with too much on it.
    #[error("something follows the Postgres user")]
    TooLong,
}
