//! Who sends: the handshake of the protocol, with a shared key and, if wanted, users.
//!
//! Both sides show that they know the key without saying it. It says nothing of what follows: only TLS keeps that from
//! others.

use std::io::Read;
use std::time::Duration;

use config::Secret;
use legacy::fluent::handshake::{Ping, helo, pong, read_ping};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use super::inbox::Inbox;

/// A client must have answered by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known here.
pub(super) struct Security {
    pub(super) shared_key: Secret,
    /// What this side calls itself. Fluentd refuses a server of its own name.
    pub(super) hostname: String,
    /// None: every client that knows the key.
    pub(super) users: Vec<User>,
}

/// Who may send.
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: Secret,
}

/// What is made up for each connection, so that no answer can be used twice.
struct Salts {
    nonce: [u8; 16],
    /// Empty: no user is asked for.
    auth: Vec<u8>,
}

impl Salts {
    fn new(security: &Security) -> std::io::Result<Salts> {
        let mut random = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let (mut nonce, auth) = ([0; 16], &random[16..]);
        nonce.copy_from_slice(&random[..16]);
        Ok(Salts { nonce, auth: if security.users.is_empty() { Vec::new() } else { auth.to_vec() } })
    }
}

impl Security {
    /// Finds out who a client is.
    ///
    /// # Errors
    /// With what is wrong, after the client was told.
    pub(super) async fn greet(&self, inbox: &mut Inbox) -> Result<(), String> {
        let salts = Salts::new(self).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        inbox.answer(&helo(&salts.nonce, &salts.auth)).await.map_err(|error| error.to_string())?;
        let answer = timeout(ANSWER_TIMEOUT, inbox.next()).await.map_err(|_| "no answer to HELO".to_owned())?;
        let answer = answer.map_err(|error| error.to_string())?.ok_or("the client left")?;
        let ping = read_ping(&answer).map_err(|error| error.to_string())?;
        let verdict = self.judge(&salts, &ping);
        let answer = match &verdict {
            Ok(()) => {
                let key = self.shared_key.expose().as_bytes();
                pong(Ok(&digest(&[&ping.shared_key_salt, self.hostname.as_bytes(), &salts.nonce, key])), &self.hostname)
            }
            Err(reason) => pong(Err(reason), &self.hostname),
        };
        inbox.answer(&answer).await.map_err(|error| error.to_string())?;
        verdict.map_err(str::to_owned)
    }

    fn judge(&self, salts: &Salts, ping: &Ping) -> Result<(), &'static str> {
        let key = self.shared_key.expose().as_bytes();
        let expected = digest(&[&ping.shared_key_salt, &ping.hostname, &salts.nonce, key]);
        if !is_equal(&expected, &ping.shared_key_digest) {
            return Err("shared_key mismatch");
        }
        if self.users.is_empty() {
            return Ok(());
        }
        // All are looked at, so that the time says nothing of who exists.
        let known = self.users.iter().fold(false, |known, user| {
            let expected = digest(&[&salts.auth, user.name.as_bytes(), user.password.expose().as_bytes()]);
            let is_user = user.name.as_bytes().ct_eq(&ping.username) & expected.as_bytes().ct_eq(&ping.password_digest);
            known | bool::from(is_user)
        });
        if known { Ok(()) } else { Err("username/password mismatch") }
    }
}

fn is_equal(expected: &str, shown: &[u8]) -> bool {
    bool::from(expected.as_bytes().ct_eq(shown))
}

/// The SHA-512 of all parts in a row, in hexadecimal.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha512::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().fold(String::with_capacity(128), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_all_parts_in_a_row() {
        // FIPS 180-4, SHA-512 of "abc".
        let expected = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                        2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert_eq!(digest(&[b"a", b"", b"bc"]), expected);
    }

    #[test]
    fn no_two_connections_have_the_same_salts() {
        let security = Security { shared_key: Secret::new("k"), hostname: "h".into(), users: vec![] };
        let (one, other) = (Salts::new(&security).unwrap(), Salts::new(&security).unwrap());
        assert_ne!(one.nonce, other.nonce);
    }
}
