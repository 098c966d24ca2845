//! From messages to records to the intake, whichever way they came.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use component::metrics::{Counter, Description, Metrics};
use component::{Arrivals, Intake, ReceiverContext, Refused, StartError, Stop, Unit, clock};
use legacy::syslog::{Element, Leading, Message, SyslogError, Zone, rfc3164, rfc5424};
use otlp::Signal;
use transport::server::LocalAddress;

use crate::operators::{Entry, Operators, Value, batch};

/// Attributes by name.
pub(super) type Values = BTreeMap<String, Value>;

/// Records that are handed over together, at most.
const RECORDS_MAX: usize = 1000;
/// And the bytes of their messages.
const BYTES_MAX: usize = 1 << 20;
/// The longest time between two attempts to hand over what there is no room for.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

const MALFORMED: Description = Description::counter(
    "crossfade_syslog_malformed",
    "Messages of syslog that are not of the form that the receiver expects, by cause.",
);

/// What messages mean.
pub(super) struct Meaning {
    pub(super) protocol: Protocol,
    pub(super) leading: Leading,
    pub(super) on_error: OnError,
    /// What every record gets.
    pub(super) attributes: Values,
    pub(super) resource: Values,
    pub(super) operators: Operators,
}

/// Which form messages have.
#[derive(Clone)]
pub(super) enum Protocol {
    Rfc5424,
    /// Its times are local to this zone.
    Rfc3164(Zone),
}

/// What becomes of a message that is of another form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnError {
    /// It goes on, as its body.
    Send(Voice),
    Drop(Voice),
}

/// Whether the log says so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    Loud,
    Quiet,
}

/// Whether records say who sent them: `add_attributes`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origins {
    Told,
    Untold,
}

/// On which sides white space is taken away.
#[derive(Clone, Copy)]
pub(super) struct Trim {
    pub(super) leading: bool,
    pub(super) trailing: bool,
}

/// One way in: a transport, with its counters.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) transport: &'static str,
    pub(super) stop: Stop,
    intake: Intake,
    meaning: Arc<Meaning>,
    metrics: Metrics,
    receiver: String,
}

impl Way {
    pub(super) fn new(
        context: &ReceiverContext,
        transport: &'static str,
        meaning: &Arc<Meaning>,
    ) -> Result<Way, StartError> {
        let intake = context.intake(Signal::Logs, transport);
        let intake = intake.ok_or_else(|| StartError("no pipeline of logs names this receiver".to_owned()))?;
        let (stop, metrics, receiver) = (context.stop.clone(), context.metrics.clone(), context.id.clone());
        Ok(Way { transport, stop, intake, meaning: Arc::clone(meaning), metrics, receiver })
    }

    fn malformed(&self, cause: &str) -> Counter {
        let labels = [("receiver", self.receiver.as_str()), ("transport", self.transport), ("cause", cause)];
        self.metrics.counter(MALFORMED, &labels)
    }
}

/// Messages of one source that are becoming records.
pub(super) struct Lines {
    way: Way,
    operators: Operators,
    arrivals: Arrivals,
    unit: Unit,
    trim: Trim,
    entries: Vec<Entry>,
    bytes: usize,
}

impl Lines {
    pub(super) fn new(way: &Way, arrivals: Arrivals, unit: Unit, trim: Trim) -> Lines {
        let operators = way.meaning.operators.fresh();
        Lines { way: way.clone(), operators, arrivals, unit, trim, entries: Vec::new(), bytes: 0 }
    }

    /// Whether so much has come together that it should be handed over first.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= RECORDS_MAX || self.bytes >= BYTES_MAX
    }

    /// Takes a message. `origin` is what is to be told of its sender.
    pub(super) fn take(&mut self, message: &[u8], origin: &Values) {
        let text = String::from_utf8_lossy(message);
        let mut line: &str = &text;
        if self.trim.leading {
            line = line.trim_start();
        }
        if self.trim.trailing {
            line = line.trim_end();
        }
        // Line feeds between messages are no messages.
        if line.is_empty() {
            return;
        }
        self.arrivals.received(self.unit, 1);
        self.bytes += line.len();
        let now = clock::unix_ns();
        let mut entry = Entry::new(Value::from(line), now);
        entry.resource = Value::Map(self.way.meaning.resource.clone());
        let mut attributes = self.way.meaning.attributes.clone();
        attributes.extend(origin.iter().map(|(key, value)| (key.clone(), value.clone())));
        entry.attributes = Value::Map(attributes);
        match self.way.meaning.read(line, now) {
            Ok(message) => describe(&message, &mut entry),
            Err(error) => {
                self.report(error, line);
                if matches!(self.way.meaning.on_error, OnError::Drop(_)) {
                    self.arrivals.lost(self.unit, error.kind.cause(), 1);
                    return;
                }
            }
        }
        self.operators.process(entry, now, &mut self.entries);
        let counts = self.operators.take_counts();
        self.arrivals.lost(self.unit, "operator_error", counts.dropped);
        self.arrivals.lost(self.unit, "filtered", counts.filtered);
    }

    /// Counts, and says so now and then: at the first, the second, the fourth…
    fn report(&self, error: SyslogError, line: &str) {
        let counter = self.way.malformed(error.kind.cause());
        counter.add(1);
        let is_loud = matches!(self.way.meaning.on_error, OnError::Send(Voice::Loud) | OnError::Drop(Voice::Loud));
        if is_loud && counter.get().is_power_of_two() {
            let beginning: String = line.chars().take(120).collect();
            tracing::warn!(receiver = self.way.receiver, count = counter.get(), %error, message = ?beginning,
                "syslog: a message of another form");
        }
    }

    /// Counts messages that were lost before they could be taken.
    pub(super) fn lost(&self, cause: &'static str) {
        self.arrivals.received(self.unit, 1);
        self.arrivals.lost(self.unit, cause, 1);
    }

    /// Hands over what was taken, and waits until there is room for it.
    pub(super) async fn hand_over(&mut self) {
        self.bytes = 0;
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() {
            return;
        }
        let batch = batch(&entries);
        drop(entries);
        loop {
            match self.way.intake.accept(batch.clone()).await {
                Ok(()) => return,
                Err(Refused::Permanent { cause }) => {
                    tracing::warn!(receiver = self.way.receiver, cause, "syslog: messages cannot be taken");
                    self.arrivals.lost(self.unit, "refused", u64::from(batch.items()));
                    return;
                }
                Err(Refused::Retry { after, .. }) => {
                    tokio::select! {
                        () = tokio::time::sleep(after.min(RETRY_DELAY_MAX)) => {}
                        () = self.way.stop.requested() => {
                            self.arrivals.lost(self.unit, "stopping", u64::from(batch.items()));
                            return;
                        }
                    }
                }
            }
        }
    }
}

impl Meaning {
    fn read<'a>(&self, line: &'a str, received_unix_ns: u64) -> Result<Message<'a>, SyslogError> {
        match &self.protocol {
            Protocol::Rfc5424 => rfc5424::read(line, self.leading),
            Protocol::Rfc3164(zone) => rfc3164::read(line, self.leading, zone, received_unix_ns),
        }
    }
}

/// As the Collector's parser does, under its names.
fn describe(message: &Message<'_>, entry: &mut Entry) {
    entry.time_unix_ns = message.timestamp_unix_ns.unwrap_or(0);
    if let Some(priority) = message.priority {
        entry.severity_number = priority.severity().otlp_number();
        priority.severity().text().clone_into(&mut entry.severity_text);
        entry.set_attribute("priority", Value::Int(i64::from(priority.number())));
        entry.set_attribute("facility", Value::Int(i64::from(priority.facility())));
        entry.set_attribute("facility_text", Value::from(priority.facility_text()));
    }
    if let Some(version) = message.version {
        entry.set_attribute("version", Value::Int(i64::from(version)));
    }
    let texts = [
        ("hostname", message.hostname),
        ("appname", message.appname),
        ("proc_id", message.proc_id),
        ("msg_id", message.msg_id),
        ("message", message.message),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            entry.set_attribute(key, Value::from(text));
        }
    }
    if !message.structured_data.is_empty() {
        entry.set_attribute("structured_data", structured(&message.structured_data));
    }
}

/// Elements by their ids. Where a parameter comes several times, which RFC 5424 allows, its values are a list.
fn structured(elements: &[Element<'_>]) -> Value {
    let mut all = Values::new();
    for element in elements {
        let entry = all.entry(element.id.to_owned()).or_insert_with(|| Value::Map(Values::new()));
        let Value::Map(params) = entry else { continue };
        for (name, value) in &element.params {
            let value = Value::from(&**value);
            match params.get_mut(*name) {
                None => {
                    params.insert((*name).to_owned(), value);
                }
                Some(Value::Array(values)) => values.push(value),
                Some(first) => {
                    let values = vec![std::mem::take(first), value];
                    *first = Value::Array(values);
                }
            }
        }
    }
    Value::Map(all)
}

/// Who sent a message, under the names that the Collector gives it.
pub(super) fn origin(
    origins: Origins,
    transport: &'static str,
    peer: Option<SocketAddr>,
    local: &LocalAddress,
) -> Values {
    let mut values = Values::new();
    if origins == Origins::Untold {
        return values;
    }
    values.insert("net.transport".to_owned(), Value::from(transport));
    let local = match local {
        LocalAddress::Tcp(address) => Some(*address),
        LocalAddress::Unix(_) => None,
    };
    for (side, address) in [("peer", peer), ("host", local)] {
        if let Some(address) = address {
            values.insert(format!("net.{side}.ip"), Value::String(address.ip().to_string()));
            values.insert(format!("net.{side}.port"), Value::String(address.port().to_string()));
        }
    }
    values
}
