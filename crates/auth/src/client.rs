//! What a client sends.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};

use crate::file::SecretFile;
use crate::{Credentials, CredentialsError, Secret};

/// A header field that stays what it is.
#[derive(Debug)]
pub struct Authorization {
    field: HeaderName,
    value: HeaderValue,
}

impl Authorization {
    /// User and password (RFC 7617).
    ///
    /// # Errors
    /// [`CredentialsError::HeaderValue`] if the user holds a colon.
    pub fn basic(user: &str, password: &Secret) -> Result<Authorization, CredentialsError> {
        Ok(Authorization { field: header::AUTHORIZATION, value: basic_value(user, password)? })
    }

    /// A token after `Bearer`, or after another scheme.
    ///
    /// # Errors
    /// [`CredentialsError::HeaderValue`] if it cannot stand in a header field.
    pub fn bearer(scheme: &str, token: &Secret) -> Result<Authorization, CredentialsError> {
        Ok(Authorization { field: header::AUTHORIZATION, value: bearer_value(scheme, token)? })
    }

    /// Sends it in another field than `Authorization`.
    #[must_use]
    pub fn in_field(mut self, field: HeaderName) -> Authorization {
        self.field = field;
        self
    }

    /// The value of the field.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        self.value.clone()
    }
}

impl Credentials for Authorization {
    fn field(&self) -> Result<(HeaderName, HeaderValue), CredentialsError> {
        Ok((self.field.clone(), self.value.clone()))
    }
}

/// A header field with secrets from files, which are read again when they change.
#[derive(Debug)]
pub struct ReloadedAuthorization {
    field: HeaderName,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Basic { user: SecretText, password: SecretText },
    Bearer { scheme: String, token: SecretFile },
}

/// A text that is given, or the first line of a file, which is read again when it changes.
#[derive(Debug)]
pub struct SecretText(Text);

#[derive(Debug)]
enum Text {
    Fixed(Secret),
    File(SecretFile),
}

impl SecretText {
    /// Opens it.
    ///
    /// # Errors
    /// [`CredentialsError`] if the file cannot be read or is empty.
    pub fn open(source: Source<'_>) -> Result<SecretText, CredentialsError> {
        Ok(SecretText(match source {
            Source::Given(text) => Text::Fixed(text.clone()),
            Source::File(path) => Text::File(SecretFile::new(path)?),
        }))
    }

    /// What it says now.
    #[must_use]
    pub fn now(&self) -> Secret {
        match &self.0 {
            Text::Fixed(text) => text.clone(),
            Text::File(file) => file.first_line(),
        }
    }
}

/// A secret as the configuration gives it: itself, or the file that holds it.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The text itself.
    Given(&'a Secret),
    /// The file; its first line counts.
    File(&'a Path),
}

impl ReloadedAuthorization {
    /// User and password (RFC 7617), each given or from a file.
    ///
    /// # Errors
    /// [`CredentialsError`] if a file cannot be read or is empty, or the user holds a colon.
    pub fn basic(user: Source<'_>, password: Source<'_>) -> Result<ReloadedAuthorization, CredentialsError> {
        let kind = Kind::Basic { user: SecretText::open(user)?, password: SecretText::open(password)? };
        ReloadedAuthorization::checked(kind)
    }

    /// The token in a file's first line.
    ///
    /// # Errors
    /// [`CredentialsError`] if the file cannot be read or is empty, or the token cannot stand in a header field.
    pub fn bearer(scheme: &str, path: &Path) -> Result<ReloadedAuthorization, CredentialsError> {
        ReloadedAuthorization::checked(Kind::Bearer { scheme: scheme.to_owned(), token: SecretFile::new(path)? })
    }

    /// Sends it in another field than `Authorization`.
    #[must_use]
    pub fn in_field(mut self, field: HeaderName) -> ReloadedAuthorization {
        self.field = field;
        self
    }

    fn checked(kind: Kind) -> Result<ReloadedAuthorization, CredentialsError> {
        let made = ReloadedAuthorization { field: header::AUTHORIZATION, kind };
        made.field().map(|_| made)
    }
}

impl Credentials for ReloadedAuthorization {
    fn field(&self) -> Result<(HeaderName, HeaderValue), CredentialsError> {
        let value = match &self.kind {
            Kind::Basic { user, password } => basic_value(user.now().expose(), &password.now())?,
            Kind::Bearer { scheme, token } => bearer_value(scheme, &token.first_line())?,
        };
        Ok((self.field.clone(), value))
    }
}

fn basic_value(user: &str, password: &Secret) -> Result<HeaderValue, CredentialsError> {
    if user.contains(':') {
        return Err(CredentialsError::HeaderValue("user name"));
    }
    let encoded = STANDARD.encode(format!("{user}:{}", password.expose()));
    sensitive(&format!("Basic {encoded}")).ok_or(CredentialsError::HeaderValue("password"))
}

fn bearer_value(scheme: &str, token: &Secret) -> Result<HeaderValue, CredentialsError> {
    sensitive(format!("{scheme} {}", token.expose().trim()).trim()).ok_or(CredentialsError::HeaderValue("token"))
}

/// A header value that is never shown, and never put into a compression table.
pub(crate) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::FILE_CHECK_INTERVAL;

    #[test]
    fn a_client_header_is_never_shown() {
        let basic = Authorization::basic("user", &Secret::new("pass")).unwrap();
        assert_eq!(basic.header_value(), "Basic dXNlcjpwYXNz");
        assert!(!format!("{basic:?}").contains("dXNlcjpwYXNz"));
        assert!(Authorization::bearer("Bearer", &Secret::new("a\nb")).is_err());
    }

    /// What is sent while the text of a file changes, each time long enough after the change.
    fn check(made: &dyn Credentials, path: &Path, texts: &[(&str, &str)]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for (text, expected) in texts {
                std::fs::write(path, text).unwrap();
                tokio::time::advance(FILE_CHECK_INTERVAL).await;
                assert_eq!(made.field().unwrap().1, expected, "{text:?}");
            }
        });
    }

    #[test]
    fn a_token_file_that_changes_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "zero").unwrap();
        let made = ReloadedAuthorization::bearer("Bearer", file.path()).unwrap();
        // An empty file is one that is being replaced.
        check(&made, file.path(), &[("one\n", "Bearer one"), (" two \nthree", "Bearer two"), ("", "Bearer two")]);
        assert!(ReloadedAuthorization::bearer("Bearer", Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_password_file_that_changes_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x").unwrap();
        let user = Secret::new("user");
        let made = ReloadedAuthorization::basic(Source::Given(&user), Source::File(file.path())).unwrap();
        check(&made, file.path(), &[("pass\n", "Basic dXNlcjpwYXNz"), ("sesame", "Basic dXNlcjpzZXNhbWU=")]);
        assert!(!format!("{made:?}").contains("sesame"), "{made:?}");
    }

    #[test]
    fn a_user_from_a_file_is_held_to_the_same_rules() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "user:name").unwrap();
        let password = Secret::new("p");
        let error = ReloadedAuthorization::basic(Source::File(file.path()), Source::Given(&password)).unwrap_err();
        assert_eq!(error, CredentialsError::HeaderValue("user name"));
    }
}
