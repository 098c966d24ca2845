use component::{Health, Metrics};
use config::{Diagnostics, TestEnvironment};
use http::{Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;
use transport::endpoint::Endpoint;
use transport::server::{
    BodyLimits, ConnInfo, PortSharing, RequestBody, ResponseBody, ServerSettings, bind, read_payload, serve,
};

use super::*;

fn client(yaml: &str) -> (Option<Oauth2Client>, Diagnostics) {
    let loaded = config::parse_str("c.yaml", yaml, &TestEnvironment::new()).unwrap();
    let mut diagnostics = Diagnostics::new();
    let section = Section::open(&loaded.root, "extensions.test", &mut diagnostics);
    let built = section.read(read);
    (built, diagnostics)
}

/// What a token server is asked: the `Authorization` field and the form.
type Asked = (Option<String>, String);

/// A token server that answers what it is told, the last answer for ever.
struct TokenEndpoint {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<Vec<(u16, &'static str)>>>,
    stop: CancellationToken,
}

impl TokenEndpoint {
    fn start(answers: &[(u16, &'static str)]) -> TokenEndpoint {
        let listener = bind(&Endpoint::parse("127.0.0.1:0").unwrap(), PortSharing::Exclusive).unwrap();
        let url = format!("http://127.0.0.1:{}/token", listener.port().unwrap());
        let (asked, answers) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(Mutex::new(answers.to_vec())));
        let stop = CancellationToken::new();
        let (seen, left) = (Arc::clone(&asked), Arc::clone(&answers));
        let handler = move |request: Request<RequestBody>, _: Arc<ConnInfo>| {
            let (seen, left) = (Arc::clone(&seen), Arc::clone(&left));
            async move {
                let (head, body) = request.into_parts();
                let body = read_payload(&head.headers, body, &BodyLimits::default()).await.unwrap();
                let authorization = head.headers.get(header::AUTHORIZATION);
                let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
                seen.lock().push((authorization, String::from_utf8(body.bytes.to_vec()).unwrap()));
                let mut left = left.lock();
                let (status, text) = if left.len() > 1 { left.remove(0) } else { left[0] };
                let mut response = Response::new(ResponseBody::full(text));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response
            }
        };
        tokio::spawn(serve(listener, ServerSettings::default(), handler, stop.clone()));
        TokenEndpoint { url, asked, answers, stop }
    }

    /// An extension that asks this server.
    fn client(&self, options: &str) -> Oauth2Client {
        let yaml = format!("{{token_url: '{}', client_id: me, client_secret: 'ses:ame%', {options}}}", self.url);
        let (built, diagnostics) = client(&yaml);
        assert!(!diagnostics.has_errors(), "{:?}", diagnostics.finish().err());
        built.unwrap()
    }

    /// Starts it; gives what exporters would send.
    async fn started(&self, options: &str) -> Arc<dyn Credentials> {
        let built = Box::new(self.client(options));
        let credentials = built.authentication().client.unwrap();
        let context =
            ExtensionContext { health: Health::default(), stop: Stop::default(), metrics: Metrics::default() };
        tokio::spawn(built.start(context).await.unwrap());
        credentials
    }
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn sent(credentials: &Arc<dyn Credentials>) -> String {
    match credentials.field() {
        Ok((name, value)) => format!("{name}: {}", value.to_str().unwrap()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_token_is_fetched_before_the_pipelines_start_and_used_until_it_expires() {
    let server =
        TokenEndpoint::start(&[(200, r#"{"access_token": "one", "token_type": "bearer", "expires_in": 3600}"#)]);
    let client = server.started("scopes: [a, b], endpoint_params: {audience: x, resource: [y, z]}").await;
    for _ in 0..100 {
        assert_eq!(sent(&client), "authorization: Bearer one");
    }
    // `me` and `ses:ame%`, each encoded as a form does (RFC 6749, section 2.3.1).
    let basic = "Basic bWU6c2VzJTNBYW1lJTI1".to_owned();
    let form = "grant_type=client_credentials&scope=a+b&audience=x&resource=y&resource=z".to_owned();
    assert_eq!(*server.asked.lock(), [(Some(basic), form)]);
}

#[tokio::test]
async fn a_server_that_wants_the_client_in_the_form_gets_it_there() {
    let token = r#"{"access_token": "one", "expires_in": "1"}"#;
    let server = TokenEndpoint::start(&[(401, r#"{"error": "invalid_client"}"#), (200, token)]);
    let client = server.client("");
    let token = client.server.fetch().await.unwrap();
    assert_eq!((token.value.to_str().unwrap(), token.lifetime), ("Bearer one", Duration::from_secs(1)));
    let asked = server.asked.lock().clone();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1], (None, "grant_type=client_credentials&client_id=me&client_secret=ses%3Aame%25".to_owned()));
    // It is asked that way at once from then on.
    client.server.fetch().await.unwrap();
    let asked = server.asked.lock().clone();
    assert!(asked.len() == 3 && asked[2].0.is_none(), "{asked:?}");
}

#[tokio::test]
async fn while_there_is_no_token_nothing_is_sent_and_the_cause_is_named() {
    let server = TokenEndpoint::start(&[(503, "no JSON: sesame")]);
    let client = server.client("");
    let (credentials, mut failures) = (client.authentication().client.unwrap(), 0);
    assert_eq!(sent(&credentials), "there are no credentials yet: the token server was not asked yet");
    let pause = client.fetch(&mut failures).await;
    let said = sent(&credentials);
    assert_eq!(said, "there are no credentials yet: the token server answered 503 Service Unavailable");
    assert!(pause < Duration::from_secs(2) && failures == 1);
    *server.answers.lock() = vec![(200, r#"{"access_token": "two", "expires_in": 3600}"#)];
    let pause = client.fetch(&mut failures).await;
    assert_eq!((sent(&credentials).as_str(), pause), ("authorization: Bearer two", Duration::from_secs(3300)));
    // What is still good stays in use while the server fails again.
    *server.answers.lock() = vec![(500, "")];
    client.fetch(&mut failures).await;
    assert_eq!(sent(&credentials), "authorization: Bearer two");
}

#[tokio::test]
async fn an_answer_without_a_token_is_named_as_such() {
    for (status, text, expected) in [
        (200, "{}", "the token server answered what has no `access_token`"),
        (200, r#"{"access_token": "a\nb"}"#, "the token holds characters that cannot stand in a header field"),
        (400, r#"{"error": "invalid_scope"}"#, "the token server answered 400 Bad Request: invalid_scope"),
        (302, "", "the token server answered 302 Found"),
    ] {
        let server = TokenEndpoint::start(&[(status, text)]);
        let said = sent(&server.started("").await);
        assert!(said.contains(expected) || status == 302 && said.contains("redirect"), "{text}: {said}");
        assert!(!said.contains("sesame"));
    }
}

fn check_error(yaml: &str, expected: &str) {
    let error = client(yaml).1.finish().err().unwrap_or_else(|| panic!("no error: {yaml}")).to_string();
    assert!(error.contains(expected), "{yaml}\n{error}");
    assert!(!error.contains("sesame"), "{error}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let with =
        |options: &str| format!("{{token_url: 'https://a/token', client_id: me, client_secret: sesame, {options}}}");
    check_error("{}", "token_url: is required");
    check_error("{token_url: 'https://a', client_secret: sesame}", "expected `client_id` or `client_id_file`");
    check_error("{token_url: 'https://a', client_id: me}", "expected `client_secret` or `client_secret_file`");
    check_error("{token_url: 'ftp://a', client_id: me, client_secret: sesame}", "token_url: expected a URL");
    check_error(&with("client_secret_file: /nonexistent"), "client_secret_file: cannot read /nonexistent");
    check_error(&with("endpoint_params: {a: {b: c}}"), "endpoint_params.a: expected a text or a list of texts");
    check_error(&with("grant_type: password"), "grant_type: expected");
    check_error(&with("claims: {a: b}"), "not built yet: grants other than client credentials");
    check_error(&with("scope: x"), "did you mean `scopes`?");
}
