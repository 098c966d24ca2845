//! The names of tags that have a meaning.

pub(super) const SERVICE_NAME: &str = "service.name";
/// What the OpenTelemetry specification has a resource without a name called.
pub(super) const UNKNOWN_SERVICE: &str = "unknown_service";
/// What the Collector's exporter wrote for it.
pub(super) const NO_SERVICE_NAME: &str = "OTLPResourceNoServiceName";

pub(super) const HOSTNAME: &str = "hostname";
pub(super) const HOST_NAME: &str = "host.name";
pub(super) const JAEGER_VERSION: &str = "jaeger.version";
pub(super) const EXPORTER_VERSION: &str = "opencensus.exporterversion";

pub(super) const SCOPE_NAME: &str = "otel.scope.name";
pub(super) const SCOPE_VERSION: &str = "otel.scope.version";
pub(super) const LIBRARY_NAME: &str = "otel.library.name";
pub(super) const LIBRARY_VERSION: &str = "otel.library.version";

pub(super) const SPAN_KIND: &str = "span.kind";
pub(super) const TRACE_STATE: &str = "w3c.tracestate";
pub(super) const WARNINGS: &str = "@jaeger@warnings";

pub(super) const ERROR: &str = "error";
pub(super) const STATUS_CODE: &str = "otel.status_code";
pub(super) const STATUS_DESCRIPTION: &str = "otel.status_description";
pub(super) const HTTP_STATUS_CODE: &str = "http.status_code";
pub(super) const HTTP_STATUS_MESSAGE: &str = "http.status_message";

pub(super) const DROPPED_ATTRIBUTES: &str = "otel.dropped_attributes_count";
pub(super) const DROPPED_EVENTS: &str = "otel.dropped_events_count";
pub(super) const DROPPED_LINKS: &str = "otel.dropped_links_count";

/// A log's field that is the name of the event.
pub(super) const EVENT: &str = "event";
pub(super) const EVENT_DROPPED_ATTRIBUTES: &str = "otel.event.dropped_attributes_count";

/// An attribute of links that says what kind of reference it was.
pub(super) const REF_TYPE: &str = "opentracing.ref_type";
pub(super) const CHILD_OF: &str = "child_of";
pub(super) const FOLLOWS_FROM: &str = "follows_from";
