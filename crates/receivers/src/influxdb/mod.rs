//! The `influxdb` receiver: InfluxDB's line protocol over HTTP, by both versions of its API.
//!
//! Specification: [API v1, `/write`](https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint) and
//! [API v2, `/api/v2/write`](https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite). `204` says that the
//! journal of every pipeline has the points. A request with lines that cannot be taken is answered with `400` and the
//! place of the first fault; its other lines are taken all the same, as InfluxDB does it.

mod answer;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use component::{BuildContext, Receiver, ReceiverContext, ReceiverFactory, Running, StartError};
use config::Section;
use otlp::Signal;

use crate::shared::http::{HttpSettings, serve};
use crate::shared::listen;
use answer::Service;

/// The registration of the receiver.
pub(crate) const FACTORY: ReceiverFactory =
    ReceiverFactory { kind: "influxdb", aliases: &[], signals: &[Signal::Metrics], build };

const PORT_DEFAULT: u16 = 8086;

struct InfluxReceiver {
    http: HttpSettings,
}

fn build(section: &mut Section<'_>, context: &BuildContext<'_>) -> Option<Box<dyn Receiver>> {
    section.without_effect("metrics_schema", "each line tells which schema it is of");
    Some(Box::new(InfluxReceiver { http: HttpSettings::read(section, context, PORT_DEFAULT)? }))
}

impl Receiver for InfluxReceiver {
    fn start(
        self: Box<Self>,
        context: ReceiverContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        Box::pin(async move { self.bind(&context) })
    }
}

impl InfluxReceiver {
    fn bind(self, context: &ReceiverContext) -> Result<Running, StartError> {
        let HttpSettings { endpoint, server, answers } = self.http;
        let listener = listen(&endpoint, "influxdb", "http")?;
        let Some(intake) = context.intake(Signal::Metrics, "http") else {
            return Err(StartError("no pipeline takes metrics from this receiver".to_owned()));
        };
        let answers = Arc::new(answers);
        let arrivals = context.arrivals("http", &listener.local().to_string());
        let service = Arc::new(Service { intake, arrivals, answers: Arc::clone(&answers) });
        let route = move |request, _| {
            let service = Arc::clone(&service);
            async move { service.answer(request).await }
        };
        Ok(Box::pin(serve(listener, server, answers, route, context.stop.token())))
    }
}
