//! Logs from the queries of VictoriaLogs: <https://docs.victoriametrics.com/victorialogs/querying/>.
//!
//! An answer is one JSON object for each line, in no order and without end, so a while is asked at a time, and less where
//! an answer is too large.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::Context;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use otlp::Batch;
use parity::Side;
use transport::http_client::HttpRequest;
use url::Url;
use url::form_urlencoded::Serializer;

use super::api::{Answered, Api, ApiError};
use super::lines::{Labels, Line, batches};
use super::window::Window;
use crate::moment::rfc_3339;

/// No shorter and no longer time is asked for at once.
const PART_NS_MIN: u64 = 1_000_000;
const PART_NS_MAX: u64 = 1_800_000_000_000;

/// An answer of fewer bytes lets a longer time be asked for.
const SMALL_ANSWER_BYTES: usize = 4 << 20;

/// A backend with what it knows.
#[derive(Debug)]
pub(super) struct VictoriaLogs {
    api: Api,
    side: Side,
    part_ns: u64,
}

impl VictoriaLogs {
    pub(super) fn new(side: Side, base: &Url, headers: HeaderMap) -> anyhow::Result<VictoriaLogs> {
        let api = Api::new("VictoriaLogs", base, headers)?;
        Ok(VictoriaLogs { api, side, part_ns: PART_NS_MAX })
    }

    /// Reads the lines from a time on and before another.
    pub(super) async fn read(&mut self, slice: Window, observe: &mut impl FnMut(Batch)) -> anyhow::Result<()> {
        let told = || format!("cannot read the logs of the {} side", self.side);
        let mut from_unix_ns = slice.from_unix_ns;
        while from_unix_ns < slice.to_unix_ns {
            let to_unix_ns = from_unix_ns.saturating_add(self.part_ns).min(slice.to_unix_ns);
            let part = Window { from_unix_ns, to_unix_ns };
            let answered = match self.lines(part).await {
                Err(error) if error.is_too_much() && to_unix_ns - from_unix_ns > PART_NS_MIN => {
                    self.part_ns = ((to_unix_ns - from_unix_ns) / 2).max(PART_NS_MIN);
                    continue;
                }
                asked => asked.with_context(told)?,
            };
            for (labels, lines) in streams(&answered, part).with_context(told)? {
                batches(&labels, &lines).into_iter().for_each(&mut *observe);
            }
            if answered.body.len() < SMALL_ANSWER_BYTES {
                self.part_ns = self.part_ns.saturating_mul(2).min(PART_NS_MAX);
            }
            from_unix_ns = to_unix_ns;
        }
        Ok(())
    }

    async fn lines(&self, part: Window) -> Result<Answered, ApiError> {
        let form =
            [("query", "*".to_owned()), ("start", part.from_unix_ns.to_string()), ("end", part.to_unix_ns.to_string())];
        let body: String = Serializer::new(String::new()).extend_pairs(form).finish();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/x-www-form-urlencoded"));
        let request = HttpRequest::post(self.api.url("select/logsql/query"), headers, Bytes::from(body));
        self.api.ask(request, |_| None).await
    }
}

type Streams<'a> = Vec<(Labels<'a>, Vec<Line<'a>>)>;

/// The lines of an answer, by their streams.
fn streams(answered: &Answered, part: Window) -> Result<Streams<'_>, ApiError> {
    let mut by_stream: BTreeMap<Cow<'_, str>, (Labels<'_>, Vec<Line<'_>>)> = BTreeMap::new();
    for json in answered.body.split(|byte| *byte == b'\n').filter(|json| !json.trim_ascii().is_empty()) {
        let mut fields: BTreeMap<Cow<'_, str>, Text<'_>> =
            serde_json::from_slice(json).map_err(|error| answered.malformed(&error.to_string()))?;
        let mut take = |name: &str| fields.remove(name).map(|text| text.0);
        let stream = take("_stream").unwrap_or_default();
        let time = take("_time").unwrap_or_default();
        let text = take("_msg").unwrap_or_default();
        let _ = take("_stream_id");
        let Some(time_unix_ns) = rfc_3339(&time) else {
            return Err(answered.malformed(&format!("the time of a line is `{time}`")));
        };
        if !(part.from_unix_ns..part.to_unix_ns).contains(&time_unix_ns) {
            continue;
        }
        let known = by_stream.entry(stream).or_insert_with_key(|stream| (labels_of(stream), Vec::new()));
        let (labels, lines) = known;
        // The labels of the stream are fields of every line, too.
        let fields = fields.into_iter().filter(|(name, _)| !labels.contains_key(name));
        lines.push(Line { time_unix_ns, text, fields: fields.map(|(name, text)| (name, text.0)).collect() });
    }
    Ok(by_stream.into_values().collect())
}

/// Text that is borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads `{app="shop",host.name="a"}`. What cannot be read is one label.
fn labels_of(stream: &str) -> Labels<'static> {
    let mut labels = Labels::new();
    let inside = stream.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(stream);
    let mut rest = inside.trim();
    while !rest.is_empty() {
        let Some((name, value, behind)) = pair(rest) else {
            labels.insert("_stream".into(), stream.to_owned().into());
            break;
        };
        labels.insert(name.into(), value.into());
        rest = behind.trim_start_matches([',', ' ']);
    }
    labels
}

/// Reads a name, `=`, and a value in quotes; gives what is behind them.
fn pair(text: &str) -> Option<(String, String, &str)> {
    let (name, behind) = match text.starts_with('"') {
        true => quoted(text)?,
        false => {
            let end = text.find('=')?;
            (text.get(..end)?.trim().to_owned(), text.get(end..)?)
        }
    };
    let (value, behind) = quoted(behind.strip_prefix('=')?)?;
    Some((name, value, behind))
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = inside.find(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    })?;
    let (inside, behind) = (inside.get(..end)?, inside.get(end + 1..)?);
    // Go's quoting is that of JSON but for what nobody puts into labels.
    let unquoted = serde_json::from_str(&format!("\"{inside}\"")).unwrap_or_else(|_| inside.to_owned());
    Some((unquoted, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::api::answered;

    #[test]
    fn the_labels_of_a_stream_are_read() {
        let check = |stream: &str, expected: &[(&str, &str)]| {
            let labels = labels_of(stream);
            let found: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(found, expected, "{stream}");
        };
        check("{}", &[]);
        check("{app=\"sh\\\"op\",env=\"prod, x\"}", &[("app", "sh\"op"), ("env", "prod, x")]);
        check("{host.name=\"a\\\\\",\"odd=name\"=\"}\"}", &[("host.name", "a\\"), ("odd=name", "}")]);
        check("{broken", &[("_stream", "{broken")]);
    }

    /// Two lines as VictoriaLogs 1.52 answered them.
    const SOUND: &str = "{\"_msg\":\"line 1\",\"_stream\":\"{app=\\\"shop\\\"}\",\"_stream_id\":\"00\",\
         \"_time\":\"2026-11-26T17:22:43.123456789Z\",\"app\":\"shop\",\"trace.id\":\"t1\"}\n\
         {\"_msg\":\"line 2\",\"_stream\":\"{app=\\\"shop\\\"}\",\"_time\":\"2026-11-26T17:22:43.12345679Z\",\"app\":\"shop\"}\n";

    const ALL: Window = Window { from_unix_ns: 0, to_unix_ns: u64::MAX };

    #[test]
    fn an_answer_has_a_line_in_each_object() {
        let answer = answered(SOUND.as_bytes());
        let read = streams(&answer, ALL).unwrap();
        assert_eq!(read.len(), 1);
        let (labels, lines) = &read[0];
        assert_eq!((labels.len(), lines.len()), (1, 2));
        assert_eq!(
            (lines[0].time_unix_ns % 1_000_000_000, lines[1].time_unix_ns % 1_000_000_000),
            (123_456_789, 123_456_790)
        );
        assert_eq!(lines[0].fields, [("trace.id".into(), "t1".into())]);
        let until = lines[1].time_unix_ns;
        assert_eq!(streams(&answer, Window { to_unix_ns: until, ..ALL }).unwrap()[0].1.len(), 1);
        for (body, expected) in [("<html>", "does not answer as"), ("{\"_msg\":\"a\"}", "the time of a line is ``")] {
            let said = streams(&answered(body.as_bytes()), ALL).err().unwrap().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn no_answer_makes_it_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut understood = 0;
        for _ in 0..3000 {
            let mut bytes = SOUND.as_bytes().to_vec();
            for _ in 0..random.usize(..4) {
                let at = random.usize(..bytes.len().max(1));
                match random.u8(..4) {
                    _ if bytes.is_empty() => break,
                    0 => bytes[at] = random.u8(..),
                    1 => bytes[at] = *random.choice(b"0123456789.-eN\\\",[]{}=").unwrap_or(&b'0'),
                    2 => bytes.truncate(at.max(1)),
                    _ => drop(bytes.remove(at)),
                }
            }
            understood += usize::from(streams(&answered(&bytes), ALL).is_ok());
        }
        assert!(understood > 300, "{understood} were understood");
    }
}
