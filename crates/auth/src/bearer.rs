//! Bearer tokens (RFC 6750) on the side of a server.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use subtle::{Choice, ConstantTimeEq};

use crate::file::SecretFile;
use crate::{AuthError, Authenticator, CredentialsError, Secret, Verdict};

/// Accepts any of a set of bearer tokens.
#[derive(Debug)]
pub struct BearerTokens {
    field: HeaderName,
    scheme: String,
    tokens: Tokens,
}

#[derive(Debug)]
enum Tokens {
    Fixed(Vec<Secret>),
    File(SecretFile),
}

impl BearerTokens {
    /// Accepts the given tokens.
    ///
    /// # Errors
    /// [`CredentialsError::Empty`] without any token, or with an empty one.
    pub fn new(tokens: &[Secret]) -> Result<BearerTokens, CredentialsError> {
        if tokens.is_empty() || tokens.iter().any(|token| token.expose().trim().is_empty()) {
            return Err(CredentialsError::Empty("the list of bearer tokens".to_owned()));
        }
        let tokens = tokens.iter().map(|token| Secret::new(token.expose().trim())).collect();
        Ok(BearerTokens::of(Tokens::Fixed(tokens)))
    }

    /// Accepts the tokens of a file, one on each line; the file is read again when it changes.
    ///
    /// # Errors
    /// [`CredentialsError`] if it cannot be read or holds none.
    pub fn from_file(path: &Path) -> Result<BearerTokens, CredentialsError> {
        Ok(BearerTokens::of(Tokens::File(SecretFile::new(path)?)))
    }

    fn of(tokens: Tokens) -> BearerTokens {
        BearerTokens { field: header::AUTHORIZATION, scheme: "Bearer".to_owned(), tokens }
    }

    /// Expects another scheme than `Bearer` before the token; the empty text expects the bare token.
    #[must_use]
    pub fn with_scheme(mut self, scheme: &str) -> BearerTokens {
        scheme.trim().clone_into(&mut self.scheme);
        self
    }

    /// Expects the token in another field than `Authorization`.
    #[must_use]
    pub fn in_field(mut self, field: HeaderName) -> BearerTokens {
        self.field = field;
        self
    }

    fn decide(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let given = credentials(headers, &self.field, &self.scheme)?;
        let known = match &self.tokens {
            Tokens::Fixed(tokens) => any_equal(tokens.iter().map(|token| token.expose().as_bytes()), given),
            Tokens::File(file) => {
                file.with_text(|text| any_equal(text.lines().map(|line| line.trim().as_bytes()), given))
            }
        };
        if bool::from(known) { Ok(()) } else { Err(AuthError::Invalid) }
    }
}

impl Authenticator for BearerTokens {
    fn check(&self, headers: &HeaderMap) -> Verdict {
        Verdict::Decided(self.decide(headers))
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_str(&self.scheme)
            .ok()
            .filter(|scheme| !scheme.is_empty())
            .unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

/// Whether one of the values is equal; takes the same time wherever it stands. Empty values are never equal.
fn any_equal<'a>(values: impl Iterator<Item = &'a [u8]>, given: &[u8]) -> Choice {
    values
        .fold(Choice::from(0), |found, value| found | (value.ct_eq(given) & Choice::from(u8::from(!value.is_empty()))))
}

/// The credentials after the scheme. Missing, another scheme, nothing after it, or two such fields, of which another
/// server may read the other one: refused.
pub(crate) fn credentials<'a>(headers: &'a HeaderMap, field: &HeaderName, scheme: &str) -> Result<&'a [u8], AuthError> {
    let mut values = headers.get_all(field).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(AuthError::Missing) };
    let value = value.as_bytes();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokens: &BearerTokens, authorization: Option<&str>, expected: Result<(), AuthError>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(tokens.decide(&headers), expected, "{authorization:?}");
    }

    #[test]
    fn a_missing_empty_or_partial_token_is_refused() {
        let tokens = BearerTokens::new(&[Secret::new("first-token"), Secret::new("second")]).unwrap();
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
        assert_eq!(tokens.challenge(), "Token");
    }

    #[test]
    fn another_field_is_the_only_one_that_counts() {
        let key = HeaderName::from_static("x-api-key");
        let tokens = BearerTokens::new(&[Secret::new("one")]).unwrap().with_scheme("").in_field(key.clone());
        check(&tokens, Some("one"), Err(AuthError::Missing));
        let mut headers = HeaderMap::from_iter([(key.clone(), HeaderValue::from_static("one"))]);
        assert_eq!(tokens.decide(&headers), Ok(()));
        headers.append(key, HeaderValue::from_static("one"));
        assert_eq!(tokens.decide(&headers), Err(AuthError::Missing), "twice");
    }

    #[test]
    fn tokens_that_let_nobody_in_are_refused_at_start() {
        assert!(BearerTokens::new(&[]).is_err());
        assert!(BearerTokens::new(&[Secret::new(" ")]).is_err());
        let missing = BearerTokens::from_file(Path::new("/nonexistent/token")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/token"), "{missing}");
    }
}
