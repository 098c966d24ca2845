//! Who may send: basic authentication (RFC 7617) and bearer tokens (RFC 6750), compared in constant time; and the
//! header field that a client sends for the same.

mod sha1;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;

use crate::secret::Secret;

/// Decides whether a request may pass, by its header fields.
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// Checks a request's header fields.
    ///
    /// # Errors
    /// [`AuthError`]: the request is answered with 401, or with UNAUTHENTICATED for gRPC.
    fn check(&self, headers: &HeaderMap) -> Result<(), AuthError>;

    /// The value of `WWW-Authenticate` in the answer to a refused request.
    fn challenge(&self) -> &'static str;
}

/// Why a request was refused. The text does not help to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No credentials.
    #[error("no credentials: the authorization header is missing or of another scheme")]
    Missing,
    /// The wrong ones.
    #[error("the credentials are not valid")]
    Invalid,
}

/// Why the credentials in a configuration cannot be used.
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
    /// A hash that is not supported.
    #[error(
        "line {line} of the htpasswd text uses {hash}, which is not supported; use `{{SHA}}` (`htpasswd -s`), or a bearer token"
    )]
    Hash {
        /// Counted from 1.
        line: usize,
        /// Its name.
        hash: &'static str,
    },
    /// A credential that cannot stand in a header field.
    #[error("the {0} holds characters that cannot stand in a header field")]
    HeaderValue(&'static str),
}

/// How often a credentials file is looked at, at most.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Accepts any of a set of bearer tokens.
#[derive(Debug)]
pub struct BearerTokens {
    scheme: String,
    fixed: Vec<Secret>,
    file: Option<TokenFile>,
}

impl BearerTokens {
    /// Accepts the given tokens.
    ///
    /// # Errors
    /// [`CredentialsError::Empty`] without any token, or with an empty one.
    pub fn new(tokens: Vec<Secret>) -> Result<BearerTokens, CredentialsError> {
        if tokens.is_empty() || tokens.iter().any(|token| token.expose().trim().is_empty()) {
            return Err(CredentialsError::Empty("the list of bearer tokens".to_owned()));
        }
        Ok(BearerTokens { scheme: "Bearer".to_owned(), fixed: tokens, file: None })
    }

    /// Accepts the tokens of a file, one on each line; the file is read again when it changes.
    ///
    /// # Errors
    /// [`CredentialsError`] if it cannot be read or holds none.
    pub fn from_file(path: &Path) -> Result<BearerTokens, CredentialsError> {
        let file = TokenFile::new(path)?;
        Ok(BearerTokens { scheme: "Bearer".to_owned(), fixed: Vec::new(), file: Some(file) })
    }

    /// Expects another scheme than `Bearer` before the token; the empty text expects the bare token.
    #[must_use]
    pub fn with_scheme(mut self, scheme: &str) -> BearerTokens {
        scheme.trim().clone_into(&mut self.scheme);
        self
    }
}

impl Authenticator for BearerTokens {
    fn check(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let given = credentials(headers, &self.scheme)?;
        let known_fixed = any_equal(self.fixed.iter().map(|token| token.expose().as_bytes()), given);
        let known_file = match &self.file {
            None => Choice::from(0),
            Some(file) => file.with_text(|text| any_equal(text.lines().map(|line| line.trim().as_bytes()), given)),
        };
        if bool::from(known_fixed | known_file) { Ok(()) } else { Err(AuthError::Invalid) }
    }

    fn challenge(&self) -> &'static str {
        "Bearer"
    }
}

/// Whether one of the values is equal; takes the same time wherever it stands. Empty values are never equal.
fn any_equal<'a>(values: impl Iterator<Item = &'a [u8]>, given: &[u8]) -> Choice {
    values
        .fold(Choice::from(0), |found, value| found | (value.ct_eq(given) & Choice::from(u8::from(!value.is_empty()))))
}

/// The credentials after the scheme. Missing, another scheme, or nothing after it: refused.
fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Result<&'a [u8], AuthError> {
    let value = headers.get(header::AUTHORIZATION).ok_or(AuthError::Missing)?.as_bytes();
    let rest = if scheme.is_empty() {
        value
    } else {
        let (head, rest) = value.split_at_checked(scheme.len()).ok_or(AuthError::Missing)?;
        if !head.eq_ignore_ascii_case(scheme.as_bytes()) || rest.first() != Some(&b' ') {
            return Err(AuthError::Missing);
        }
        rest
    };
    let rest = rest.trim_ascii();
    if rest.is_empty() { Err(AuthError::Missing) } else { Ok(rest) }
}

/// A file with a secret text, read again when it changes.
#[derive(Debug)]
struct TokenFile {
    path: PathBuf,
    state: Mutex<(Secret, Instant)>,
}

impl TokenFile {
    fn new(path: &Path) -> Result<TokenFile, CredentialsError> {
        let text = read_secret(path)?;
        Ok(TokenFile { path: path.to_owned(), state: Mutex::new((text, Instant::now())) })
    }

    fn with_text<T>(&self, use_text: impl FnOnce(&str) -> T) -> T {
        let mut state = self.state.lock();
        let now = Instant::now();
        if now.duration_since(state.1) >= FILE_CHECK_INTERVAL {
            state.1 = now;
            match read_secret(&self.path) {
                Ok(text) => state.0 = text,
                Err(error) => tracing::warn!(%error, "the previous credentials stay in use"),
            }
        }
        use_text(state.0.expose())
    }
}

fn read_secret(path: &Path) -> Result<Secret, CredentialsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CredentialsError::Read { path: path.to_owned(), cause: error.to_string() })?;
    if text.trim().is_empty() {
        return Err(CredentialsError::Empty(path.display().to_string()));
    }
    Ok(Secret::new(text))
}

/// Accepts the users of an htpasswd text.
#[derive(Debug)]
pub struct BasicUsers {
    users: Vec<User>,
}

#[derive(Debug)]
struct User {
    name: String,
    password: Password,
}

enum Password {
    Plain(Secret),
    Sha1([u8; 20]),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl BasicUsers {
    /// Parses `user:password` lines, where the password is plain or `{SHA}` and the base64 of its SHA-1.
    ///
    /// # Errors
    /// [`CredentialsError`] names the line; bcrypt, MD5 and crypt hashes are refused, since each would cost the server
    /// far more for a request than the request itself.
    pub fn from_htpasswd(text: &str) -> Result<BasicUsers, CredentialsError> {
        let mut users = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, password) = line.split_once(':').ok_or(CredentialsError::Line { line: line_number })?;
            if name.is_empty() || password.is_empty() {
                return Err(CredentialsError::Line { line: line_number });
            }
            users.push(User { name: name.to_owned(), password: parse_password(password, line_number)? });
        }
        if users.is_empty() {
            return Err(CredentialsError::Empty("the htpasswd text".to_owned()));
        }
        Ok(BasicUsers { users })
    }
}

fn parse_password(text: &str, line: usize) -> Result<Password, CredentialsError> {
    if let Some(hash) = text.strip_prefix("{SHA}") {
        let digest = STANDARD.decode(hash).ok().and_then(|bytes| bytes.try_into().ok());
        return digest.map(Password::Sha1).ok_or(CredentialsError::Line { line });
    }
    let unsupported = [
        ("$2", "bcrypt"),
        ("$apr1$", "Apache MD5"),
        ("$1$", "MD5 crypt"),
        ("$5$", "SHA-256 crypt"),
        ("$6$", "SHA-512 crypt"),
        ("{SSHA}", "salted SHA-1"),
    ];
    match unsupported.iter().find(|(prefix, _)| text.starts_with(prefix)) {
        Some((_, hash)) => Err(CredentialsError::Hash { line, hash }),
        None => Ok(Password::Plain(Secret::new(text))),
    }
}

impl Authenticator for BasicUsers {
    fn check(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let given = STANDARD.decode(credentials(headers, "Basic")?).map_err(|_| AuthError::Invalid)?;
        let colon = given.iter().position(|byte| *byte == b':').ok_or(AuthError::Invalid)?;
        let (name, password) = (&given[..colon], &given[colon + 1..]);
        let digest = sha1::digest(password);
        let known = self.users.iter().fold(Choice::from(0), |found, user| {
            let same_password = match &user.password {
                Password::Plain(plain) => plain.expose().as_bytes().ct_eq(password),
                Password::Sha1(hash) => hash.ct_eq(&digest),
            };
            found | (user.name.as_bytes().ct_eq(name) & same_password)
        });
        if bool::from(known) { Ok(()) } else { Err(AuthError::Invalid) }
    }

    fn challenge(&self) -> &'static str {
        "Basic realm=\"crossfade\""
    }
}

/// What a client sends in `Authorization`.
#[derive(Debug)]
pub struct Authorization {
    kind: AuthorizationKind,
}

#[derive(Debug)]
enum AuthorizationKind {
    Fixed(HeaderValue),
    BearerFile { scheme: String, file: TokenFile },
}

impl Authorization {
    /// User and password (RFC 7617).
    ///
    /// # Errors
    /// [`CredentialsError::HeaderValue`] if the user holds a colon.
    pub fn basic(user: &str, password: &Secret) -> Result<Authorization, CredentialsError> {
        if user.contains(':') {
            return Err(CredentialsError::HeaderValue("user name"));
        }
        let encoded = STANDARD.encode(format!("{user}:{}", password.expose()));
        Authorization::fixed(&format!("Basic {encoded}"))
    }

    /// A token after `Bearer`, or after another scheme.
    ///
    /// # Errors
    /// [`CredentialsError::HeaderValue`] if it cannot stand in a header field.
    pub fn bearer(scheme: &str, token: &Secret) -> Result<Authorization, CredentialsError> {
        Authorization::fixed(format!("{scheme} {}", token.expose().trim()).trim())
    }

    /// The token in a file's first line, read again when it changes.
    ///
    /// # Errors
    /// [`CredentialsError`] if the file cannot be read or is empty.
    pub fn bearer_file(scheme: &str, path: &Path) -> Result<Authorization, CredentialsError> {
        let kind = AuthorizationKind::BearerFile { scheme: scheme.to_owned(), file: TokenFile::new(path)? };
        Ok(Authorization { kind })
    }

    fn fixed(text: &str) -> Result<Authorization, CredentialsError> {
        let value = sensitive(text).ok_or(CredentialsError::HeaderValue("token"))?;
        Ok(Authorization { kind: AuthorizationKind::Fixed(value) })
    }

    /// The value of the header field now; none if the token file holds what cannot be sent.
    #[must_use]
    pub fn header_value(&self) -> Option<HeaderValue> {
        match &self.kind {
            AuthorizationKind::Fixed(value) => Some(value.clone()),
            AuthorizationKind::BearerFile { scheme, file } => file.with_text(|text| {
                let token = text.lines().next().unwrap_or_default().trim();
                sensitive(format!("{scheme} {token}").trim())
            }),
        }
    }
}

/// A header value that is never shown, and never put into a compression table.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authenticator: &dyn Authenticator, authorization: Option<&str>, expected: Result<(), AuthError>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(authenticator.check(&headers), expected, "{authorization:?}");
    }

    #[test]
    fn a_missing_empty_or_partial_token_is_refused() {
        let tokens = BearerTokens::new(vec![Secret::new("first-token"), Secret::new("second")]).unwrap();
        check(&tokens, Some("Bearer first-token"), Ok(()));
        check(&tokens, Some("bearer second"), Ok(()));
        check(&tokens, None, Err(AuthError::Missing));
        check(&tokens, Some(""), Err(AuthError::Missing));
        check(&tokens, Some("Bearer"), Err(AuthError::Missing));
        check(&tokens, Some("Bearer "), Err(AuthError::Missing));
        check(&tokens, Some("Basic first-token"), Err(AuthError::Missing));
        check(&tokens, Some("Bearerfirst-token"), Err(AuthError::Missing));
        check(&tokens, Some("Bearer first"), Err(AuthError::Invalid));
        check(&tokens, Some("Bearer first-token2"), Err(AuthError::Invalid));
        check(&tokens, Some("Bearer first-token second"), Err(AuthError::Invalid));
    }

    #[test]
    fn tokens_from_a_file_are_accepted_and_blank_lines_are_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n\n  two  \n").unwrap();
        let tokens = BearerTokens::from_file(file.path()).unwrap().with_scheme("Token");
        check(&tokens, Some("Token one"), Ok(()));
        check(&tokens, Some("Token two"), Ok(()));
        check(&tokens, Some("Token  "), Err(AuthError::Missing));
        check(&tokens, Some("Token three"), Err(AuthError::Invalid));
    }

    #[test]
    fn credentials_that_let_nobody_in_are_refused_at_start() {
        assert!(BearerTokens::new(vec![]).is_err());
        assert!(BearerTokens::new(vec![Secret::new(" ")]).is_err());
        assert!(BasicUsers::from_htpasswd("# nobody\n").is_err());
        let missing = BearerTokens::from_file(Path::new("/nonexistent/token")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/token"), "{missing}");
    }

    #[test]
    fn users_pass_with_plain_and_sha1_passwords() {
        // "{SHA}" and the base64 of SHA-1 of "secret".
        let users =
            BasicUsers::from_htpasswd("plain:word:with:colons\nhashed:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        check(&users, Some(&basic("plain:word:with:colons")), Ok(()));
        check(&users, Some(&basic("hashed:secret")), Ok(()));
        check(&users, Some(&basic("hashed:Secret")), Err(AuthError::Invalid));
        check(&users, Some(&basic("plain:secret")), Err(AuthError::Invalid));
        check(&users, Some(&basic("plain:")), Err(AuthError::Invalid));
        check(&users, Some(&basic("plain")), Err(AuthError::Invalid));
        check(&users, Some("Basic !!!"), Err(AuthError::Invalid));
        assert!(!format!("{users:?}").contains("229"), "the first byte of the hash");
        check(&users, None, Err(AuthError::Missing));
    }

    #[test]
    fn an_unsupported_hash_is_named_with_its_line() {
        let error = BasicUsers::from_htpasswd("a:b\nuser:$2y$10$abcdefgh\n").unwrap_err();
        assert!(error.to_string().contains("line 2") && error.to_string().contains("bcrypt"), "{error}");
    }

    #[test]
    fn a_client_header_is_never_shown() {
        let basic = Authorization::basic("user", &Secret::new("pass")).unwrap();
        assert_eq!(basic.header_value().unwrap(), "Basic dXNlcjpwYXNz");
        assert!(!format!("{basic:?}").contains("dXNlcjpwYXNz"));
        assert!(Authorization::bearer("Bearer", &Secret::new("a\nb")).is_err());
    }

    #[test]
    fn a_token_file_that_changes_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let client = Authorization::bearer_file("Bearer", file.path()).unwrap();
            assert_eq!(client.header_value().unwrap(), "Bearer one");
            std::fs::write(file.path(), "two\n").unwrap();
            tokio::time::advance(FILE_CHECK_INTERVAL).await;
            assert_eq!(client.header_value().unwrap(), "Bearer two");
            std::fs::write(file.path(), "").unwrap();
            tokio::time::advance(FILE_CHECK_INTERVAL).await;
            assert_eq!(client.header_value().unwrap(), "Bearer two", "an empty file is not used");
        });
    }
}
