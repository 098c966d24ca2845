//! Basic authentication (RFC 7617) on the side of a server, with the users of an htpasswd text.
//!
//! Slow hashes are meant to cost an attacker dearly, and would cost an honest sender as much with every request. So the
//! password that was right is remembered for each user, as a keyed digest, and only another one is hashed again.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::bearer::credentials;
use crate::file::read_secret;
use crate::password::{Password, Quick, Slow};
use crate::{AuthError, Authenticator, CredentialsError, Verdict};

/// More would be looked through for every request.
const USERS_MAX: usize = 10_000;

/// Accepts the users of an htpasswd text.
pub struct BasicUsers {
    users: Vec<User>,
    /// Makes the digests of right passwords worthless outside this process.
    key: [u8; 32],
}

impl fmt::Debug for BasicUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicUsers").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

struct User {
    name: String,
    password: Password,
    /// The digest of the password that a slow hash has confirmed.
    confirmed: Arc<Mutex<Option<[u8; 32]>>>,
}

impl BasicUsers {
    /// Parses lines of `user:password`, where the password is plain or in one of the forms of `htpasswd`: bcrypt,
    /// `$apr1$`, `{SHA}`, and also `{SSHA}`, `$1$`, `$5$` and `$6$`. Empty lines and lines with `#` are passed over; of a
    /// user who is there twice the first line counts.
    ///
    /// # Errors
    /// [`CredentialsError`] names the line.
    pub fn from_htpasswd(text: &str) -> Result<BasicUsers, CredentialsError> {
        let mut users: Vec<User> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, password) = line.split_once(':').ok_or(CredentialsError::Line { line: line_number })?;
            if name.is_empty() || password.is_empty() {
                return Err(CredentialsError::Line { line: line_number });
            }
            let hash = |what| CredentialsError::Hash { line: line_number, what };
            let password = Password::parse(password).map_err(hash)?;
            if users.len() == USERS_MAX {
                return Err(hash("more than 10000 users"));
            }
            if users.iter().all(|user| user.name != name) {
                users.push(User { name: name.to_owned(), password, confirmed: Arc::default() });
            }
        }
        if users.is_empty() {
            return Err(CredentialsError::Empty("the htpasswd text".to_owned()));
        }
        Ok(BasicUsers { users, key: std::array::from_fn(|_| fastrand::u8(..)) })
    }

    /// Reads an htpasswd file, once.
    ///
    /// # Errors
    /// As [`BasicUsers::from_htpasswd`], and when the file cannot be read.
    pub fn from_file(path: &Path) -> Result<BasicUsers, CredentialsError> {
        BasicUsers::from_htpasswd(read_secret(path)?.expose())
    }

    /// These users, and those of `others` who are not among them.
    #[must_use]
    pub fn and(mut self, others: BasicUsers) -> BasicUsers {
        let others = others.users.into_iter();
        let new: Vec<User> = others.filter(|other| self.users.iter().all(|user| user.name != other.name)).collect();
        self.users.extend(new);
        self
    }

    fn decide(&self, headers: &HeaderMap) -> Result<Verdict, AuthError> {
        let given = credentials(headers, &header::AUTHORIZATION, "Basic")?;
        let given = STANDARD.decode(given).map_err(|_| AuthError::Invalid)?;
        let colon = given.iter().position(|byte| *byte == b':').ok_or(AuthError::Invalid)?;
        let (name, password) = (&given[..colon], &given[colon + 1..]);
        let digest = self.digest(password);
        let mut known = Choice::from(0);
        let mut slow = None;
        for user in &self.users {
            let same_name = user.name.as_bytes().ct_eq(name);
            match &user.password {
                Password::Quick(quick) => known |= same_name & quick.is(password),
                Password::Slow(hash) => {
                    let confirmed = user.confirmed.lock().unwrap_or_default();
                    known |= same_name & confirmed.ct_eq(&digest);
                    if bool::from(same_name) {
                        slow = Some((hash.clone(), Some(Arc::clone(&user.confirmed))));
                    }
                }
            }
        }
        if bool::from(known) {
            return Ok(Verdict::Decided(Ok(())));
        }
        match slow.or_else(|| self.decoy(name)) {
            Some((hash, confirmed)) => Ok(costly(hash, password.to_vec(), digest, confirmed)),
            None => Err(AuthError::Invalid),
        }
    }

    /// A user who does not exist takes as long as one who does.
    fn decoy(&self, name: &[u8]) -> Option<(Slow, Option<Confirmed>)> {
        let exists = self.users.iter().any(|user| user.name.as_bytes() == name);
        let hashes = self.users.iter().find_map(|user| match &user.password {
            Password::Slow(hash) => Some(hash.clone()),
            Password::Quick(Quick::Plain(_) | Quick::Sha1 { .. }) => None,
        });
        hashes.filter(|_| !exists).map(|hash| (hash, None))
    }

    fn digest(&self, password: &[u8]) -> [u8; 32] {
        let mut sha = Sha256::new();
        sha.update(self.key);
        sha.update(password);
        sha.finalize().into()
    }
}

type Confirmed = Arc<Mutex<Option<[u8; 32]>>>;

fn costly(hash: Slow, password: Vec<u8>, digest: [u8; 32], confirmed: Option<Confirmed>) -> Verdict {
    Verdict::Costly(Box::new(move || {
        let is_right = hash.is(&password);
        match confirmed {
            Some(confirmed) if is_right => {
                *confirmed.lock() = Some(digest);
                Ok(())
            }
            _ => Err(AuthError::Invalid),
        }
    }))
}

impl Authenticator for BasicUsers {
    fn check(&self, headers: &HeaderMap) -> Verdict {
        self.decide(headers).unwrap_or_else(|error| Verdict::Decided(Err(error)))
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Basic realm=\"crossfade\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, and whether it took a slow hash to say it.
    fn ask(users: &BasicUsers, authorization: Option<&str>) -> (Result<(), AuthError>, bool) {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        match users.check(&headers) {
            Verdict::Decided(result) => (result, false),
            Verdict::Costly(check) => (check(), true),
        }
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn users_pass_with_their_own_password_only() {
        let text = "plain:word:with:colons\nhashed:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";
        let users = BasicUsers::from_htpasswd(text).unwrap();
        let check = |given: Option<&str>, expected| assert_eq!(ask(&users, given), (expected, false), "{given:?}");
        check(Some(&basic("plain:word:with:colons")), Ok(()));
        check(Some(&basic("hashed:secret")), Ok(()));
        check(Some(&basic("hashed:Secret")), Err(AuthError::Invalid));
        check(Some(&basic("plain:secret")), Err(AuthError::Invalid));
        check(Some(&basic("plain:word:with:colon")), Err(AuthError::Invalid));
        check(Some(&basic("plain:")), Err(AuthError::Invalid));
        check(Some(&basic("plain")), Err(AuthError::Invalid));
        check(Some(&basic(":")), Err(AuthError::Invalid));
        check(Some("Basic !!!"), Err(AuthError::Invalid));
        check(Some("Basic"), Err(AuthError::Missing));
        check(Some("Bearer word"), Err(AuthError::Missing));
        check(None, Err(AuthError::Missing));
        assert_eq!(format!("{users:?}"), "BasicUsers { users: 2, .. }");
    }

    #[test]
    fn a_slow_hash_is_computed_once_for_a_right_password_and_each_time_for_a_wrong_one() {
        let users = BasicUsers::from_htpasswd("me:$1$ab$NM4FR4Dl/CzoTSJTd3YJ3.").unwrap();
        let (right, wrong) = (basic("me:a"), basic("me:b"));
        assert_eq!(ask(&users, Some(&wrong)), (Err(AuthError::Invalid), true));
        assert_eq!(ask(&users, Some(&right)), (Ok(()), true));
        assert_eq!(ask(&users, Some(&right)), (Ok(()), false));
        assert_eq!(ask(&users, Some(&wrong)), (Err(AuthError::Invalid), true));
        assert_eq!(ask(&users, Some(&right)), (Ok(()), false), "a wrong one does not push it out");
    }

    #[test]
    fn a_user_who_does_not_exist_takes_as_long_as_one_who_does() {
        let users = BasicUsers::from_htpasswd("me:$1$ab$NM4FR4Dl/CzoTSJTd3YJ3.\nplain:word").unwrap();
        assert_eq!(ask(&users, Some(&basic("you:a"))), (Err(AuthError::Invalid), true));
        assert_eq!(ask(&users, Some(&basic("plain:a"))), (Err(AuthError::Invalid), false));
    }

    #[test]
    fn the_first_line_of_a_user_counts() {
        let users = BasicUsers::from_htpasswd("me:one\nme:two").unwrap();
        let others = BasicUsers::from_htpasswd("me:three\nyou:four").unwrap();
        let users = users.and(others);
        assert_eq!(ask(&users, Some(&basic("me:one"))).0, Ok(()));
        assert_eq!(ask(&users, Some(&basic("you:four"))).0, Ok(()));
        for wrong in ["me:two", "me:three"] {
            assert_eq!(ask(&users, Some(&basic(wrong))).0, Err(AuthError::Invalid), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_text_is_said_with_its_line() {
        let said = |text: &str| BasicUsers::from_htpasswd(text).unwrap_err().to_string();
        assert!(said("# nobody\n").contains("no credentials"));
        assert!(said("a:b\nuser\n").contains("line 2"));
        let hash = said("a:b\nuser:$2y$10$abcdefgh\n");
        assert!(hash.contains("line 2") && hash.contains("bcrypt") && !hash.contains("abcdefgh"), "{hash}");
    }
}
