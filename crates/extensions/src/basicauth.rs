//! `basicauth`: user and password (RFC 7617), for servers from an htpasswd text, or for clients.

use std::path::Path;

use auth::{BasicUsers, CredentialsError, ReloadedAuthorization, Secret, Source};
use component::{Authentication, BuildContext, Extension, ExtensionFactory};
use config::Section;

use crate::authenticator::AuthenticatorExtension;

/// Makes `basicauth` extensions.
pub(crate) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "basicauth", aliases: &["basic_auth"], signals: &[], build };

fn build(section: &mut Section<'_>, _: &BuildContext<'_>) -> Option<Box<dyn Extension>> {
    let server = section.child_if_present("htpasswd", read_users);
    let client = section.child_if_present("client_auth", read_client);
    let made = match (server, client) {
        (Some(server), None) => server,
        (None, Some(client)) => client,
        (Some(_), Some(_)) => {
            section.fail(
                "expected either `htpasswd` or `client_auth`, found both: each side needs an extension of its own",
            );
            None
        }
        (None, None) => {
            section.fail("expected `htpasswd`, which says who may send, or `client_auth`, which says what to send");
            None
        }
    };
    made.map(AuthenticatorExtension::boxed)
}

/// `htpasswd`: of a user who is in both, `inline` counts.
fn read_users(section: &mut Section<'_>) -> Option<Authentication> {
    let inline = section.get("inline").secret().optional().filter(|text| !text.expose().trim().is_empty());
    let file = section.get("file").string().non_empty().optional();
    if inline.is_none() && file.is_none() {
        section.fail("expected `inline`, lines of `user:password`, or `file`, an htpasswd file");
    }
    let mut read = |key, users: Result<BasicUsers, CredentialsError>| {
        users.map_err(|error| section.error(key, error.to_string())).ok()
    };
    let inline = inline.map(|text| read("inline", BasicUsers::from_htpasswd(text.expose())));
    let file = file.map(|path| read("file", BasicUsers::from_file(Path::new(&path))));
    let users = match (inline, file) {
        (Some(inline), Some(file)) => inline?.and(file?),
        (Some(users), None) | (None, Some(users)) => users?,
        (None, None) => return None,
    };
    Some(AuthenticatorExtension::server(users))
}

/// `client_auth`: a file counts before the text beside it.
fn read_client(section: &mut Section<'_>) -> Option<Authentication> {
    section.unsupported("aws_secrets_manager", "credentials from the AWS Secrets Manager");
    let user = section.get("username").string().non_empty().optional().map(Secret::new);
    let user_file = section.get("username_file").string().non_empty().optional();
    let password = section.get("password").secret().optional().map(|secret| Secret::new(secret.expose()));
    let password_file = section.get("password_file").string().non_empty().optional();
    if user.is_none() && user_file.is_none() {
        section.fail("expected `username` or `username_file`");
    }
    if password.is_none() && password_file.is_none() {
        section.fail("expected `password` or `password_file`");
    }
    let user = source(user.as_ref(), user_file.as_deref())?;
    let password = source(password.as_ref(), password_file.as_deref())?;
    let made = ReloadedAuthorization::basic(user, password);
    made.map(AuthenticatorExtension::client).map_err(|error| section.fail(error.to_string())).ok()
}

fn source<'a>(given: Option<&'a Secret>, file: Option<&'a str>) -> Option<Source<'a>> {
    file.map(|path| Source::File(Path::new(path))).or_else(|| given.map(Source::Given))
}
