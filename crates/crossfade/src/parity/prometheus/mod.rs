//! Live backends: what Prometheus, VictoriaMetrics and Mimir answer over the Prometheus HTTP API.

mod batches;
mod catalogue;
mod client;
mod families;
mod native;
mod points;
mod queries;

use anyhow::Context;
use http::HeaderMap;
use otlp::Batch;
use parity::Side;
use url::Url;

use super::window::Window;
use batches::numbers;
pub(super) use batches::{batches, left_out};
pub(super) use catalogue::{Catalogue, agree, agree_with_replica};
use client::Client;
pub(super) use client::{Sample, Series, said_in, understood};
pub(super) use families::Family;
use queries::kind_of_answer;
pub(super) use queries::{Query, read as read_queries};

/// So many metrics are asked for at once, and fewer where that is too much.
const FAMILIES_AT_ONCE: usize = 20;

/// No shorter time is asked for at once.
const PART_MS_MIN: u64 = 60_000;

/// A backend with what it knows.
#[derive(Debug)]
pub(super) struct Backend {
    client: Client,
    side: Side,
    pub(super) catalogue: Catalogue,
    /// Samples that are not compared.
    pub(super) left_out: LeftOut,
}

/// Native histograms that are not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Gauges, whose counts may fall.
    pub(super) gauges: u64,
    /// Those of answers to expressions.
    pub(super) answers: u64,
}

/// Something to ask for: metrics of a span of time.
#[derive(Clone, Copy)]
struct Part<'a> {
    families: &'a [Family],
    from_unix_ms: u64,
    to_unix_ms: u64,
}

impl Backend {
    pub(super) fn new(side: Side, base: &Url, headers: HeaderMap) -> anyhow::Result<Backend> {
        let client = Client::new(base, headers)?;
        Ok(Backend { client, side, catalogue: Catalogue::new(side), left_out: LeftOut::default() })
    }

    /// Asks which metrics there are.
    pub(super) async fn learn(&mut self, window: Window) -> anyhow::Result<()> {
        let (from, to) = (window.from_unix_ns / 1_000_000, window.to_unix_ns / 1_000_000);
        let told = || format!("cannot read the {} side", self.side);
        self.catalogue.names = self.client.names(from, to).await.with_context(told)?.into_iter().collect();
        self.catalogue.types = self.client.types().await.with_context(told)?;
        Ok(())
    }

    /// Reads the raw samples of all metrics, later than `from` and up to `to`.
    pub(super) async fn read(
        &mut self,
        from_unix_ms: u64,
        to_unix_ms: u64,
        observe: &mut impl FnMut(Batch),
    ) -> anyhow::Result<()> {
        let packs = self.catalogue.families.chunks(FAMILIES_AT_ONCE).rev();
        let mut parts: Vec<Part<'_>> = packs.map(|families| Part { families, from_unix_ms, to_unix_ms }).collect();
        while let Some(part) = parts.pop() {
            let selector = selector(part.families);
            match self.client.samples(&selector, part.from_unix_ms, part.to_unix_ms).await {
                Ok(answer) => {
                    self.left_out.gauges += left_out(part.families, &answer);
                    batches(part.families, answer).into_iter().for_each(&mut *observe);
                }
                Err(error) if error.is_too_much() && part.is_divisible() => parts.extend(part.halves()),
                Err(error) => return Err(error).with_context(|| format!("cannot read the {} side", self.side)),
            }
        }
        Ok(())
    }

    /// Reads the answers to expressions at each step from `from` on and before `to`.
    pub(super) async fn answer(
        &mut self,
        queries: &[Query],
        (from_unix_ms, to_unix_ms, step_ms): (u64, u64, u64),
        observe: &mut impl FnMut(Batch),
    ) -> anyhow::Result<()> {
        for query in queries {
            let expression = if self.side == Side::Legacy { &query.legacy } else { &query.new };
            let mut spans = vec![(from_unix_ms, to_unix_ms)];
            while let Some((from, to)) = spans.pop() {
                let steps = (to - from).div_ceil(step_ms);
                match self.client.answers(expression, from, to - 1, step_ms).await {
                    Ok(answer) => {
                        self.left_out.answers += natives(&answer);
                        let kind = kind_of_answer(expression, &self.catalogue.types);
                        let series = answer.into_iter().map(|Series { mut metric, values, .. }| {
                            metric.remove("__name__");
                            (metric, values)
                        });
                        let series: Vec<_> = series.collect();
                        numbers(expression, kind, &series).into_iter().for_each(&mut *observe);
                    }
                    Err(error) if error.is_too_much() && steps > 1 => {
                        let middle = from + steps / 2 * step_ms;
                        spans.extend([(middle, to), (from, middle)]);
                    }
                    Err(error) => {
                        return Err(error).with_context(|| format!("the {} side, asked `{expression}`", self.side));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Part<'_> {
    fn is_divisible(&self) -> bool {
        self.families.len() > 1 || self.to_unix_ms - self.from_unix_ms >= 2 * PART_MS_MIN
    }

    /// The two halves, the second one first: fewer metrics, or less time of one.
    fn halves(self) -> [Self; 2] {
        if self.families.len() > 1 {
            let (first, second) = self.families.split_at(self.families.len() / 2);
            return [Part { families: second, ..self }, Part { families: first, ..self }];
        }
        let middle = u64::midpoint(self.from_unix_ms, self.to_unix_ms);
        [Part { from_unix_ms: middle, ..self }, Part { to_unix_ms: middle, ..self }]
    }
}

fn natives(answer: &[Series]) -> u64 {
    answer.iter().map(|series| series.histograms.len() as u64).sum()
}

/// Selects all series of some metrics.
fn selector(families: &[Family]) -> String {
    let names = families.iter().flat_map(|family| &family.members);
    let names: Vec<String> = names.map(|name| literally(name)).collect();
    format!("{{__name__=~\"{}\"}}", names.join("|"))
}

/// A name as a regular expression in a string of PromQL.
fn literally(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '\\' => out.push_str("\\\\\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                out.push_str("\\\\");
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::families::families;
    use super::*;
    use crate::parity::api::answered;

    #[test]
    fn names_are_selected_literally() {
        let family = |name: &str| Family {
            name: name.into(),
            kind: families::Kind::Gauge,
            members: vec![name.into()],
            form: families::Form::Classic,
        };
        let selected = selector(&[family("up_total"), family("http.requests"), family("a\"b\\c")]);
        assert_eq!(selected, r#"{__name__=~"up_total|http\\.requests|a\"b\\\\c"}"#);
    }

    /// Answers that backends would not give, made from one that they do.
    #[test]
    fn no_answer_makes_it_panic() {
        let sound = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"t_bucket","le":"0.5","job":"a"},"values":[[1.5,"1"],[2.5,"3"]]},
            {"metric":{"__name__":"t_bucket","le":"+Inf","job":"a"},"values":[[1.5,"2"],[2.5,"1e300"]]},
            {"metric":{"__name__":"t_count","job":"a"},"values":[[1.5,"2"],[2.5,"-4"]]},
            {"metric":{"__name__":"t_sum","job":"a"},"values":[[1.5,"NaN"],[2.5,"-Inf"]]},
            {"metric":{"__name__":"q","quantile":"0.9"},"values":[[9999999999.9,"2"]],"histograms":[[1,{"count":"1"}]]},
            {"metric":{"__name__":"n"},"histograms":[[1.5,{"count":"9","sum":"4","buckets":[[1,"-4","-2","5"],
                [3,"-0.25","0.25","3"],[0,"0.25","0.5","12"],[0,"5e-324","1e-323","1"],[0,"1.7976931348623157e+308","+Inf","1"]]}],
                [2,{"count":"9","sum":"4","buckets":[[3,"-Inf","0.5","4"],[0,"2.5","5","5"],[0,"10","+Inf","1"]]}]]},
            {"metric":{"__name__":"c_total"},"values":[[0,"2"],[0,"1"]]}]}}"#;
        let names = ["t_bucket", "t_count", "t_sum", "q", "q_count", "c_total", "n"].map(str::to_owned);
        let types = HashMap::from([("q".to_owned(), "summary".to_owned())]);
        let families = families(&names.into(), &types);
        let mut random = fastrand::Rng::with_seed(5);
        let mut understood = 0;
        for _ in 0..6000 {
            let mut bytes = sound.to_vec();
            for _ in 0..random.usize(..4) {
                let at = random.usize(..bytes.len());
                match random.u8(..4) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes[at] = *random.choice(b"0123456789.-eN\",[]{}").unwrap_or(&b'0'),
                    2 => bytes.truncate(at.max(1)),
                    _ => drop(bytes.remove(at)),
                }
            }
            if let Ok(matrix) = client::understood::<client::Matrix>(&answered(&bytes)) {
                understood += 1;
                for batch in batches(&families, matrix.result) {
                    assert!(Batch::parse(batch.signal(), batch.bytes().clone(), &otlp::Limits::default()).is_ok());
                }
            }
        }
        assert!(understood > 300, "{understood} were understood");
    }
}
