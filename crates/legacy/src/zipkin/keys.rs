//! The names of tags that have a meaning.

pub(super) const SERVICE_NAME: &str = "service.name";
/// Which attribute of the resource the service's name is, where it is not `service.name`.
pub(super) const SERVICE_NAME_SOURCE: &str = "otlp.service.name.source";
/// What the Collector writes where there is no name.
pub(super) const NO_SERVICE_NAME: &str = "OTLPResourceNoServiceName";
pub(super) const SCOPE_NAME: &str = "otel.scope.name";
pub(super) const SCOPE_VERSION: &str = "otel.scope.version";
pub(super) const LIBRARY_NAME: &str = "otel.library.name";
pub(super) const LIBRARY_VERSION: &str = "otel.library.version";
pub(super) const TRACE_STATE: &str = "w3c.tracestate";
pub(super) const SPAN_KIND: &str = "span.kind";
pub(super) const STATUS_CODE: &str = "otel.status_code";
pub(super) const STATUS_DESCRIPTION: &str = "otel.status_description";
pub(super) const ERROR: &str = "error";
pub(super) const DROPPED_ATTRIBUTES: &str = "otel.dropped_attributes_count";
pub(super) const DROPPED_EVENTS: &str = "otel.dropped_events_count";
pub(super) const DROPPED_LINKS: &str = "otel.dropped_links_count";
pub(super) const LINK_PREFIX: &str = "otlp.link.";
pub(super) const START_TIME_ABSENT: &str = "otel.zipkin.absentField.startTime";
pub(super) const SHARED: &str = "zipkin.shared";
pub(super) const DEBUG: &str = "zipkin.debug";
pub(super) const LOCAL_IP: &str = "net.host.ip";
pub(super) const LOCAL_PORT: &str = "net.host.port";
pub(super) const PEER_SERVICE: &str = "peer.service";
pub(super) const PEER_IP: &str = "net.peer.ip";
pub(super) const PEER_PORT: &str = "net.peer.port";

/// Attributes that name a service where `service.name` is absent, in the Collector's order.
pub(super) const SERVICE_NAME_SOURCES: [&str; 3] = ["faas.name", "k8s.deployment.name", "process.executable.name"];

/// What names the other side of a client or a producer, in the order of the specification ("Remote endpoint"), with the
/// port that belongs to an address.
pub(super) const REMOTE_RANKED: [(&str, &str); 10] = [
    ("server.address", "server.port"),
    ("net.peer.name", ""),
    ("network.peer.address", "network.peer.port"),
    ("server.socket.domain", ""),
    ("server.socket.address", "server.socket.port"),
    ("net.sock.peer.name", ""),
    ("net.sock.peer.addr", "net.sock.peer.port"),
    ("peer.hostname", ""),
    ("peer.address", ""),
    ("db.name", ""),
];

/// Whether an attribute describes the resource: semantic conventions, "Resource", and what OpenCensus knew.
pub(super) fn is_of_resource(key: &str) -> bool {
    RESOURCE.binary_search(&key).is_ok()
        || key.strip_prefix("k8s.").is_some_and(|rest| rest.split('.').count() == 2 && !rest.ends_with(".phase"))
}

/// In the order of their bytes. Those of Kubernetes follow a pattern and are not listed.
const RESOURCE: [&str; 67] = [
    "aws.ecs.cluster.arn",
    "aws.ecs.container.arn",
    "aws.ecs.launchtype",
    "aws.ecs.task.arn",
    "aws.ecs.task.family",
    "aws.ecs.task.revision",
    "aws.eks.cluster.arn",
    "aws.log.group.arns",
    "aws.log.group.names",
    "aws.log.stream.arns",
    "aws.log.stream.names",
    "cloud.account.id",
    "cloud.availability_zone",
    "cloud.platform",
    "cloud.provider",
    "cloud.region",
    "cloud.resource_id",
    "container.id",
    "container.image.name",
    "container.image.tag",
    "container.image.tags",
    "container.name",
    "container.runtime",
    "deployment.environment",
    "deployment.environment.name",
    "device.id",
    "device.manufacturer",
    "device.model.identifier",
    "device.model.name",
    "faas.id",
    "faas.instance",
    "faas.max_memory",
    "faas.name",
    "faas.version",
    "host.arch",
    "host.id",
    "host.image.id",
    "host.image.name",
    "host.image.version",
    "host.name",
    "host.type",
    "opencensus.exporterversion",
    "opencensus.resourcetype",
    "opencensus.starttime",
    "os.description",
    "os.name",
    "os.type",
    "os.version",
    "process.command",
    "process.command_args",
    "process.command_line",
    "process.executable.name",
    "process.executable.path",
    "process.owner",
    "process.parent_pid",
    "process.pid",
    "process.runtime.description",
    "process.runtime.name",
    "process.runtime.version",
    "service.instance.id",
    "service.name",
    "service.namespace",
    "service.version",
    "telemetry.auto.version",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_in_order() {
        assert!(RESOURCE.is_sorted());
        assert!(RESOURCE.iter().all(|key| is_of_resource(key)));
    }

    #[test]
    fn what_belongs_to_a_span_is_not_of_the_resource() {
        assert!(is_of_resource("k8s.pod.name") && is_of_resource("k8s.cluster.name"));
        for key in ["http.method", "service", "k8s.", "k8s.pod", "faas.trigger", "aws.s3.bucket", "k8s.pod.labels.app"]
        {
            assert!(!is_of_resource(key), "{key}");
        }
    }
}
