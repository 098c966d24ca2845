//! The authenticators as configurations describe them.

#![allow(clippy::unwrap_used)]

use auth::{AuthError, Verdict};
use component::{Authentication, BuildContext, Registry};
use config::{ComponentId, Diagnostics, Section, TestEnvironment};
use http::{HeaderMap, HeaderName, HeaderValue};

fn read(kind: &str, yaml: &str) -> (Option<Authentication>, Diagnostics) {
    let mut registry = Registry::default();
    extensions::register(&mut registry);
    let environment = TestEnvironment::new().with_var("SECRET", "sesame");
    let loaded = config::parse_str("c.yaml", yaml, &environment).unwrap();
    let mut diagnostics = Diagnostics::new();
    let id: ComponentId = kind.parse().unwrap();
    let build = registry.extension(kind).unwrap().build;
    let section = Section::open(&loaded.root, "extensions.test", &mut diagnostics);
    let built = section.read(|section| build(section, &BuildContext::alone(&id)));
    (built.map(|extension| extension.authentication()), diagnostics)
}

fn sound(kind: &str, yaml: &str) -> Authentication {
    let (made, diagnostics) = read(kind, yaml);
    diagnostics.finish_with(made).map(|(made, _)| made).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(kind: &str, yaml: &str, expected: &str) {
    let said = read(kind, yaml).1.finish().err().unwrap_or_else(|| panic!("no error: {yaml}")).to_string();
    assert!(said.contains(expected), "{yaml}\n{said}");
    assert!(!said.contains("sesame"), "{said}");
}

/// What a client sends.
fn sent(made: &Authentication) -> String {
    let (name, value) = made.client.as_ref().unwrap().field().unwrap();
    assert!(value.is_sensitive() && !format!("{made:?}").contains("sesame"));
    format!("{name}: {}", value.to_str().unwrap())
}

/// What a server says to a field.
fn asked(made: &Authentication, name: &'static str, value: &str) -> Result<(), AuthError> {
    let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())]);
    match made.server.as_ref().unwrap().check(&headers) {
        Verdict::Decided(result) => result,
        Verdict::Costly(check) => check(),
    }
}

/// `alice` with `sesame`, and `bob` with `secret` and with `sesame`.
const ALICE: &str = "Basic YWxpY2U6c2VzYW1l";
const BOB: &str = "Basic Ym9iOnNlY3JldA==";
const BOB_WRONG: &str = "Basic Ym9iOnNlc2FtZQ==";

#[test]
fn basicauth_lets_the_users_of_an_htpasswd_text_pass() {
    let text = "alice:${env:SECRET}\\nbob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\\n";
    let made = sound("basicauth", &format!("htpasswd: {{inline: \"{text}\"}}"));
    assert_eq!(asked(&made, "authorization", ALICE), Ok(()));
    assert_eq!(asked(&made, "authorization", BOB), Ok(()));
    assert_eq!(asked(&made, "authorization", BOB_WRONG), Err(AuthError::Invalid));
    assert!(made.client.is_none());
}

#[test]
fn a_bcrypt_hash_in_a_configuration_needs_no_escapes() {
    // From the vectors of OpenBSD's bcrypt: `U*U`.
    let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let made = sound("basicauth", &format!("htpasswd:\n  inline: |\n    # comment\n    alice:{hash}\n"));
    assert_eq!(asked(&made, "authorization", "Basic YWxpY2U6VSpV"), Ok(()));
    assert_eq!(asked(&made, "authorization", ALICE), Err(AuthError::Invalid));
}

#[test]
fn the_inline_users_of_basicauth_count_before_those_of_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "alice:other\nbob:secret\n").unwrap();
    let path = file.path().display();
    let made = sound("basicauth", &format!("htpasswd: {{file: '{path}', inline: 'alice:sesame'}}"));
    assert_eq!(asked(&made, "authorization", ALICE), Ok(()));
    assert_eq!(asked(&made, "authorization", BOB), Ok(()));
}

#[test]
fn basicauth_sends_user_and_password_and_prefers_files() {
    let made = sound("basicauth", "client_auth: {username: alice, password: '${env:SECRET}'}");
    assert_eq!(sent(&made), format!("authorization: {ALICE}"));
    assert!(made.server.is_none());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sesame\n").unwrap();
    let path = file.path().display();
    let options = format!("client_auth: {{username: alice, password: other, password_file: '{path}'}}");
    assert_eq!(sent(&sound("basicauth", &options)), format!("authorization: {ALICE}"));
}

#[test]
fn what_makes_no_sense_in_basicauth_is_refused() {
    let kind = "basicauth";
    errors(kind, "{}", "expected `htpasswd`, which says who may send, or `client_auth`");
    errors(kind, "{htpasswd: {inline: 'a:b'}, client_auth: {username: a, password: b}}", "found both");
    errors(kind, "htpasswd: {}", "expected `inline`, lines of `user:password`, or `file`");
    errors(kind, "htpasswd: {inline: sesame}", "inline: line 1 of the htpasswd text is not `user:password`");
    errors(kind, "htpasswd: {inline: 'a:$2y$10$sesame'}", "inline: line 1 of the htpasswd text: a damaged bcrypt hash");
    errors(kind, "htpasswd: {file: /nonexistent}", "file: cannot read /nonexistent");
    errors(kind, "htpasswd: {inlin: 'a:b'}", "did you mean `inline`?");
    errors(kind, "client_auth: {username: a}", "expected `password` or `password_file`");
    errors(kind, "client_auth: {password: sesame}", "expected `username` or `username_file`");
    errors(kind, "client_auth: {username: 'a:b', password: sesame}", "the user name holds characters");
    errors(kind, "client_auth: {username: a, password_file: /nonexistent}", "cannot read /nonexistent");
    errors(kind, "client_auth: {aws_secrets_manager: {secret_arn: x}}", "not built yet: credentials from the AWS");
}

#[test]
fn bearertokenauth_is_for_both_sides() {
    let made = sound("bearertokenauth", "token: ${env:SECRET}");
    assert_eq!(sent(&made), "authorization: Bearer sesame");
    assert_eq!(asked(&made, "authorization", "Bearer sesame"), Ok(()));
    assert_eq!(asked(&made, "authorization", "Bearer sesam"), Err(AuthError::Invalid));
}

#[test]
fn bearertokenauth_takes_several_tokens_and_sends_the_first() {
    let made = sound("bearer_token_auth", "{tokens: [one, sesame], scheme: Api-Token}");
    assert_eq!(sent(&made), "authorization: Api-Token one");
    assert_eq!(asked(&made, "authorization", "Api-Token sesame"), Ok(()));
    assert_eq!(asked(&made, "authorization", "Bearer sesame"), Err(AuthError::Missing));
}

#[test]
fn bearertokenauth_uses_another_header_and_no_scheme() {
    let made = sound("bearertokenauth", "{token: sesame, header: X-Api-Key, scheme: ''}");
    assert_eq!(sent(&made), "x-api-key: sesame");
    assert_eq!(asked(&made, "x-api-key", "sesame"), Ok(()));
    assert_eq!(asked(&made, "authorization", "sesame"), Err(AuthError::Missing));
}

#[test]
fn the_file_of_bearertokenauth_counts_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sesame\nsecond\n").unwrap();
    let (made, diagnostics) =
        read("bearertokenauth", &format!("{{token: other, filename: '{}'}}", file.path().display()));
    assert!(diagnostics.warnings()[0].to_string().contains("token: has no effect: `filename` is given"));
    let made = made.unwrap();
    assert_eq!(sent(&made), "authorization: Bearer sesame");
    assert_eq!(asked(&made, "authorization", "Bearer second"), Ok(()));
    assert_eq!(asked(&made, "authorization", "Bearer other"), Err(AuthError::Invalid));
}

#[test]
fn what_makes_no_sense_in_bearertokenauth_is_refused() {
    let kind = "bearertokenauth";
    errors(kind, "{}", "expected a `token`, a list of `tokens`, or the `filename`");
    errors(kind, "{token: sesame, tokens: [sesame]}", "expected either `token` or `tokens`, found both");
    errors(kind, "token: \"sesame\\nstreet\"", "the token holds characters");
    errors(kind, "{token: sesame, header: 'a b'}", "header: expected the name of a header");
    errors(kind, "tokens: ['sesame', ' ']", "the list of bearer tokens holds no credentials");
    errors(kind, "filename: /nonexistent", "cannot read /nonexistent");
    errors(kind, "tokn: sesame", "did you mean `token`?");
}
