//! A server that runs out of file descriptors, in a process of its own with few of them.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use http::Response;
use tokio_util::sync::CancellationToken;
use transport::endpoint::Endpoint;
use transport::http_client::{HttpClient, HttpClientSettings, HttpRequest};
use transport::server::{self, PortSharing, ResponseBody, ServerSettings};

const DESCRIPTORS: usize = 32;

/// Not a test: the server's process, started by the test below.
#[test]
#[ignore = "the other process of the test below"]
fn serve_until_the_input_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = server::bind(&Endpoint::parse("127.0.0.1:0").unwrap(), PortSharing::Exclusive).unwrap();
        println!("\nport {}", listener.port().unwrap());
        let stop = CancellationToken::new();
        let handler = |_, _| async { Response::new(ResponseBody::full("alive")) };
        let serving = tokio::spawn(server::serve(listener, ServerSettings::default(), handler, stop.clone()));
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        stop.cancel();
        serving.await.unwrap();
    });
}

fn start() -> (Child, BufReader<ChildStdout>, u16) {
    let itself = std::env::current_exe().unwrap();
    let limited = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limited])
        .arg(itself)
        .args(["--ignored", "--exact", "--nocapture", "serve_until_the_input_ends"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let lines = output.by_ref().lines();
    let port = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("port ")?.parse().ok()).unwrap();
    (child, output, port)
}

#[tokio::test]
async fn a_server_without_descriptors_accepts_again_when_it_has_some() {
    let (mut child, mut output, port) = start();
    let settings = HttpClientSettings { timeout: Some(Duration::from_millis(500)), ..HttpClientSettings::default() };
    let client = HttpClient::new(settings).unwrap();
    let url: url::Url = format!("http://127.0.0.1:{port}/").parse().unwrap();
    assert_eq!(client.send(HttpRequest::get(url.clone())).await.unwrap().body, "alive");
    let held: Vec<_> = (0..2 * DESCRIPTORS).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let fresh = HttpClient::new(HttpClientSettings {
        timeout: Some(Duration::from_millis(300)),
        ..HttpClientSettings::default()
    });
    assert!(fresh.unwrap().send(HttpRequest::get(url.clone())).await.is_err(), "no descriptor is left");
    drop(held);
    let mut attempts = 0;
    while client.send(HttpRequest::get(url.clone())).await.is_err() {
        attempts += 1;
        assert!(attempts < 20, "the server does not accept again");
    }
    drop(child.stdin.take());
    output.read_to_end(&mut Vec::new()).unwrap();
    assert!(child.wait().unwrap().success());
}
