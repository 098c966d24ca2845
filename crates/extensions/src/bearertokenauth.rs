//! `bearertokenauth`: tokens (RFC 6750), for servers and for clients.

use std::path::Path;
use std::sync::Arc;

use auth::{Authorization, BearerTokens, Credentials, CredentialsError, ReloadedAuthorization, Secret};
use component::{Authentication, BuildContext, Extension, ExtensionFactory};
use config::Section;
use http::{HeaderName, header};

use crate::authenticator::AuthenticatorExtension;

/// Makes `bearertokenauth` extensions.
pub(crate) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "bearertokenauth", aliases: &["bearer_token_auth"], signals: &[], build };

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Extension>> {
    let scheme = section.get("scheme").string().or("Bearer".to_owned());
    let field =
        section.get("header").parse_with("the name of a header", |name| HeaderName::from_bytes(name.as_bytes()));
    let field = field.or(header::AUTHORIZATION);
    let token = section.get("token").secret().optional().filter(|token| !token.is_empty());
    let tokens = section.get("tokens").each(|item| item.secret().required()).or_default();
    let file = section.get("filename").string().non_empty().optional();
    if token.is_some() && !tokens.is_empty() {
        section.fail("expected either `token` or `tokens`, found both");
        return None;
    }
    let tokens: Vec<Secret> = token.iter().chain(&tokens).map(|token| Secret::new(token.expose())).collect();
    let made = match (&file, tokens.is_empty()) {
        (None, true) => {
            section.fail("expected a `token`, a list of `tokens`, or the `filename` of a file that holds them");
            return None;
        }
        (None, false) => from_tokens(&scheme, &field, &tokens),
        (Some(path), _) => {
            let key = if section.has("token") { "token" } else { "tokens" };
            if !tokens.is_empty() {
                section.without_effect(key, "`filename` is given, and what is in the file counts alone");
            }
            from_file(&scheme, &field, Path::new(path))
        }
    };
    made.map(AuthenticatorExtension::boxed).map_err(|error| section.fail(error.to_string())).ok()
}

/// A client shows the first of several.
fn from_tokens(scheme: &str, field: &HeaderName, tokens: &[Secret]) -> Result<Authentication, CredentialsError> {
    let client = match tokens.first() {
        Some(token) => Authorization::bearer(scheme, token)?.in_field(field.clone()),
        None => return Err(CredentialsError::Empty("the list of bearer tokens".to_owned())),
    };
    Ok(both(BearerTokens::new(tokens)?.with_scheme(scheme).in_field(field.clone()), client))
}

fn from_file(scheme: &str, field: &HeaderName, path: &Path) -> Result<Authentication, CredentialsError> {
    let client = ReloadedAuthorization::bearer(scheme, path)?.in_field(field.clone());
    Ok(both(BearerTokens::from_file(path)?.with_scheme(scheme).in_field(field.clone()), client))
}

fn both(server: BearerTokens, client: impl Credentials + 'static) -> Authentication {
    Authentication { server: Some(Arc::new(server)), client: Some(Arc::new(client)) }
}
