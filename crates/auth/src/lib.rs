//! Who may send, and what a client shows for it: passwords and tokens.
//!
//! A server asks an [`Authenticator`] ([`BasicUsers`], [`BearerTokens`]) about each request, by its header fields alone.
//! A client asks [`Credentials`] ([`Authorization`]) which field to send. Everything secret is compared in constant time
//! and has no `Debug` that shows it. The crate does no I/O, but for reading the files that hold credentials.
//!
//! ```
//! use auth::{Authenticator, BasicUsers, Verdict};
//! use http::{HeaderMap, HeaderValue, header};
//!
//! let users = BasicUsers::from_htpasswd("alice:wonderland").unwrap();
//! let mut headers = HeaderMap::new();
//! headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic YWxpY2U6d29uZGVybGFuZA=="));
//! assert!(matches!(users.check(&headers), Verdict::Decided(Ok(()))));
//! ```

mod basic;
mod bearer;
mod client;
mod file;
mod md5_crypt;
mod password;
mod secret;
mod sha1;

use std::fmt;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};

pub use basic::BasicUsers;
pub use bearer::BearerTokens;
pub use client::{Authorization, ReloadedAuthorization, SecretText, Source};
pub use secret::Secret;

/// Decides whether a request may pass, by its header fields.
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// Checks a request's header fields.
    fn check(&self, headers: &HeaderMap) -> Verdict;

    /// The value of `WWW-Authenticate` in the answer to a refused request.
    fn challenge(&self) -> HeaderValue;
}

/// What an authenticator says.
pub enum Verdict {
    /// It knows.
    Decided(Result<(), AuthError>),
    /// Finding out takes so much CPU time, as slow password hashes are meant to, that it must neither run among the
    /// requests of others nor often at once.
    Costly(Box<dyn FnOnce() -> Result<(), AuthError> + Send>),
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Decided(result) => f.debug_tuple("Decided").field(result).finish(),
            Verdict::Costly(_) => f.write_str("Costly"),
        }
    }
}

/// Why a request was refused. The text does not help to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No credentials.
    #[error("no credentials: the header field for them is missing or of another scheme")]
    Missing,
    /// The wrong ones.
    #[error("the credentials are not valid")]
    Invalid,
    /// So many passwords are being checked that this one had no turn in time.
    #[error("too many credentials are being checked; try again")]
    Busy,
}

/// Refuses everybody: what a server runs with while it should ask for credentials and nothing says which.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Authenticator for Nobody {
    fn check(&self, _: &HeaderMap) -> Verdict {
        Verdict::Decided(Err(AuthError::Invalid))
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }
}

/// What a client shows of itself with every request.
pub trait Credentials: fmt::Debug + Send + Sync {
    /// The header field to send now.
    ///
    /// # Errors
    /// [`CredentialsError`]: there is nothing to show at the moment. A request without would be refused for good, so it
    /// must wait.
    fn field(&self) -> Result<(HeaderName, HeaderValue), CredentialsError>;
}

/// Why credentials cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// No token, or no user.
    #[error("{0} holds no credentials, so nobody could pass")]
    Empty(String),
    /// A line of an htpasswd file that is not `user:password`.
    #[error("line {line} of the htpasswd text is not `user:password`")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A hash that is damaged, or of a form that is not supported.
    #[error("line {line} of the htpasswd text: {what}")]
    Hash {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A credential that cannot stand in a header field.
    #[error("the {0} holds characters that cannot stand in a header field")]
    HeaderValue(&'static str),
    /// They have to be fetched, and have not been yet.
    #[error("there are no credentials yet: {0}")]
    NotYet(String),
}
