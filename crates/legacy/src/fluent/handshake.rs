//! What is said before the first event: `HELO`, `PING`, `PONG`.
//!
//! Specification: Forward Protocol v1, "Handshake Messages". Only the messages are here; digests and secrets are the
//! receiver's.

use rmpv::ValueRef;

use super::{FluentError, Limits};

/// What a client answers to a [`helo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The name of the client's host.
    pub hostname: Vec<u8>,
    /// The salt of its digest of the shared key.
    pub shared_key_salt: Vec<u8>,
    /// `sha512(shared_key_salt + hostname + nonce + shared_key)`, in hexadecimal.
    pub shared_key_digest: Vec<u8>,
    /// The user; empty where none is asked for.
    pub username: Vec<u8>,
    /// `sha512(auth + username + password)`, in hexadecimal; empty where none is asked for.
    pub password_digest: Vec<u8>,
}

/// The first message of a server that wants to know who sends. `auth` is the salt for the digest of a password, and
/// empty where no user is asked for.
pub fn helo(nonce: &[u8], auth: &[u8]) -> Vec<u8> {
    // As Fluentd writes them: clients know nothing else.
    let auth = if auth.is_empty() { "".into() } else { ValueRef::Binary(auth) };
    let options = vec![
        ("nonce".into(), ValueRef::Binary(nonce)),
        ("auth".into(), auth),
        ("keepalive".into(), ValueRef::Boolean(true)),
    ];
    written(&ValueRef::Array(vec!["HELO".into(), ValueRef::Map(options)]))
}

/// Reads the answer to [`helo`].
///
/// # Errors
/// When it is another message.
pub fn read_ping(bytes: &[u8]) -> Result<Ping, FluentError> {
    let expected = FluentError::Expected {
        expected: "[\"PING\", hostname, shared key salt, shared key digest, username, password digest]",
    };
    let depth_max = Limits::default().depth_max;
    let value = rmpv::decode::read_value_ref_with_max_depth(&mut &*bytes, depth_max).map_err(|_| expected.clone())?;
    let ValueRef::Array(parts) = value else { return Err(expected) };
    let text = |part: &ValueRef<'_>| match part {
        ValueRef::String(text) => Some(text.as_bytes().to_vec()),
        ValueRef::Binary(bytes) => Some(bytes.to_vec()),
        ValueRef::Nil => Some(Vec::new()),
        _ => None,
    };
    let parts: Option<Vec<Vec<u8>>> = parts.iter().map(text).collect();
    let parts: Option<[Vec<u8>; 6]> = parts.and_then(|parts| parts.try_into().ok());
    let Some([kind, hostname, salt, digest, username, password]) = parts else { return Err(expected) };
    if kind != b"PING" {
        return Err(expected);
    }
    Ok(Ping { hostname, shared_key_salt: salt, shared_key_digest: digest, username, password_digest: password })
}

/// The verdict on a [`Ping`]. An accepted client gets the server's own digest:
/// `sha512(shared_key_salt + hostname of the server + nonce + shared_key)`; a refused one the reason.
pub fn pong(verdict: Result<&str, &str>, hostname: &str) -> Vec<u8> {
    let (passed, reason, digest) = match verdict {
        Ok(digest) => (true, "", digest),
        Err(reason) => (false, reason, ""),
    };
    let hostname = if passed { hostname } else { "" };
    let parts = vec!["PONG".into(), ValueRef::Boolean(passed), reason.into(), hostname.into(), digest.into()];
    written(&ValueRef::Array(parts))
}

fn written(value: &ValueRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = rmpv::encode::write_value_ref(&mut out, value);
    out
}
