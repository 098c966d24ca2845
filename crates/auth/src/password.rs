//! The password of a line of an htpasswd file, in any of the forms that such files have.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use subtle::{Choice, ConstantTimeEq};

use crate::md5_crypt::Md5Crypt;
use crate::{Secret, sha1};

/// bcrypt takes twice as long for each step: at this one some four seconds.
const BCRYPT_COST_MAX: u32 = 16;
/// SHA-crypt takes a second for about this many rounds.
const SHA_CRYPT_ROUNDS_MAX: u32 = 1_000_000;

/// What a password is compared with.
pub(crate) enum Password {
    /// One that is compared at once.
    Quick(Quick),
    /// One that is slow on purpose.
    Slow(Slow),
}

pub(crate) enum Quick {
    Plain(Secret),
    /// `{SHA}`, and `{SSHA}` with a salt behind the password.
    Sha1 {
        digest: [u8; 20],
        salt: Vec<u8>,
    },
}

#[derive(Clone)]
pub(crate) enum Slow {
    Bcrypt(String),
    ShaCrypt(String),
    Md5Crypt(Md5Crypt),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl Password {
    /// Reads what stands behind the user. The error says what is wrong and shows nothing of the hash.
    pub(crate) fn parse(text: &str) -> Result<Password, &'static str> {
        if let Some(packed) = text.strip_prefix("{SHA}") {
            return parse_sha1(packed)
                .filter(|(_, salt)| salt.is_empty())
                .map(quick_sha1)
                .ok_or("a damaged {SHA} hash");
        }
        if let Some(packed) = text.strip_prefix("{SSHA}") {
            return parse_sha1(packed).map(quick_sha1).ok_or("a damaged {SSHA} hash");
        }
        if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|magic| text.starts_with(magic)) {
            let parts = bcrypt::HashParts::from_str(text).map_err(|_| "a damaged bcrypt hash")?;
            return match parts.get_cost() {
                ..=BCRYPT_COST_MAX => Ok(Password::Slow(Slow::Bcrypt(text.to_owned()))),
                _ => Err("a bcrypt hash of a cost above 16, which would take seconds for a request"),
            };
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return parse_sha_crypt(text);
        }
        if text.starts_with("$apr1$") || text.starts_with("$1$") {
            return Md5Crypt::parse(text).map(|hash| Password::Slow(Slow::Md5Crypt(hash))).ok_or("a damaged MD5 hash");
        }
        if is_unknown_form(text) {
            return Err("an unknown form of hash: bcrypt (`htpasswd -B`), `$apr1$`, `$1$`, `$5$`, `$6$`, `{SHA}` and \
                        `{SSHA}` are known, and plain text");
        }
        Ok(Password::Quick(Quick::Plain(Secret::new(text))))
    }
}

/// `$word$…` and `{WORD}…` are forms of hashes; as plain text they would let somebody in who has stolen the file.
fn is_unknown_form(text: &str) -> bool {
    let word = |rest: &str, end: char| {
        rest.split_once(end).is_some_and(|(word, _)| {
            !word.is_empty()
                && word.len() <= 16
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    text.strip_prefix('$').is_some_and(|rest| word(rest, '$'))
        || text.strip_prefix('{').is_some_and(|rest| word(rest, '}'))
}

fn parse_sha1(packed: &str) -> Option<([u8; 20], Vec<u8>)> {
    let bytes = STANDARD.decode(packed).ok()?;
    let (digest, salt) = bytes.split_first_chunk::<20>()?;
    Some((*digest, salt.to_vec()))
}

fn quick_sha1((digest, salt): ([u8; 20], Vec<u8>)) -> Password {
    Password::Quick(Quick::Sha1 { digest, salt })
}

fn parse_sha_crypt(text: &str) -> Result<Password, &'static str> {
    let rounds = text[3..].strip_prefix("rounds=").and_then(|rest| rest.split_once('$')).map(|(rounds, _)| rounds);
    match rounds.map(str::parse::<u32>) {
        Some(Ok(SHA_CRYPT_ROUNDS_MAX..)) => {
            return Err("a SHA-crypt hash of a million rounds or more, which would take seconds for a request");
        }
        Some(Err(_)) => return Err("a damaged SHA-crypt hash"),
        Some(Ok(_)) | None => {}
    }
    // Tried once, so that a damaged one is found now and not with the first request.
    match ShaCrypt::default().verify_password(b"", text) {
        Ok(()) | Err(sha_crypt::password_hash::Error::PasswordInvalid) => {
            Ok(Password::Slow(Slow::ShaCrypt(text.to_owned())))
        }
        Err(_) => Err("a damaged SHA-crypt hash"),
    }
}

impl Quick {
    pub(crate) fn is(&self, password: &[u8]) -> Choice {
        match self {
            Quick::Plain(plain) => plain.expose().as_bytes().ct_eq(password),
            Quick::Sha1 { digest, salt } => sha1::digest(&[password, salt].concat()).ct_eq(digest),
        }
    }
}

impl Slow {
    pub(crate) fn is(&self, password: &[u8]) -> bool {
        match self {
            Slow::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Slow::ShaCrypt(hash) => ShaCrypt::default().verify_password(password, hash.as_str()).is_ok(),
            Slow::Md5Crypt(hash) => {
                let (found, expected) = hash.hash(password);
                found.ct_eq(expected).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(password: &Password, given: &str) -> bool {
        match password {
            Password::Quick(quick) => quick.is(given.as_bytes()).into(),
            Password::Slow(slow) => slow.is(given.as_bytes()),
        }
    }

    fn check(form: &str, plain: &str) {
        let password = Password::parse(form).unwrap();
        assert!(is(&password, plain), "{form}");
        for wrong in ["", "x", &plain[..plain.len() - 1], &format!("{plain}!")] {
            assert!(!is(&password, wrong), "{form}: `{wrong}`");
        }
        assert!(!format!("{password:?}").contains(form));
    }

    #[test]
    fn every_form_of_hash_is_read() {
        check("word:with:colons", "word:with:colons");
        // The base64 of SHA-1 of the password, and of the password with four bytes of salt and those bytes.
        check("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret");
        check("{SSHA}uJDd0BIdJ9Z7yDCZNWdgYeb33+cBAgME", "secret");
        // `openssl passwd -apr1`, `-1`, `-5` and `-6`, with `-salt`.
        check("$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0", "secret");
        check("$apr1$saltsalt$mjeMTaXuUmLKUKu.VETmW0", "a-rather-long-password-of-more-than-sixteen-bytes");
        check("$1$ab$NM4FR4Dl/CzoTSJTd3YJ3.", "a");
        check("$1$ab$o2m0WBWUOKa7lgwZDDy1S1", "a-rather-long-password-of-more-than-sixteen-bytes");
        check("$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA", "secret");
        check(
            "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
            "secret",
        );
        // From the vectors of OpenBSD's bcrypt, with the least cost.
        check("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U");
        check("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U");
    }

    fn refused(form: &str, expected: &str) {
        let said = Password::parse(form).unwrap_err();
        assert!(said.contains(expected), "{form}: {said}");
    }

    #[test]
    fn a_damaged_or_unknown_hash_is_no_plain_password() {
        refused("{SHA}nonsense", "damaged {SHA}");
        refused("{SHA}uJDd0BIdJ9Z7yDCZNWdgYeb33+cBAgME", "damaged {SHA}");
        refused("{SSHA}5en6", "damaged {SSHA}");
        refused("$2y$10$abcdefgh", "damaged bcrypt");
        refused("$apr1$saltsalt$short", "damaged MD5");
        refused("$5$saltsalt$short!", "damaged SHA-crypt");
        refused("$6$rounds=x$saltsalt$short", "damaged SHA-crypt");
        refused("$argon2id$v=19$m=65536$c2FsdA$aGFzaA", "unknown form");
        refused("{MD5}CY9rzUYh03PK3k6DJie09g==", "unknown form");
    }

    #[test]
    fn a_hash_that_takes_seconds_is_refused() {
        refused("$2a$17$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "cost above 16");
        refused("$6$rounds=5000000$saltsalt$x", "million rounds");
    }

    #[test]
    fn plain_passwords_may_hold_dollars_and_braces() {
        for plain in ["$ecret", "pa$$word$", "{}", "{not a form} x", "a{b}c"] {
            check(plain, plain);
        }
    }
}
