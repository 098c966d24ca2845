//! Which tags describe a resource.

/// The attributes of resources in the semantic conventions 1.16, which InfluxData's mapping goes by. A tag of such a
/// name, or of one with more parts behind it, describes the resource.
const NAMES: [&str; 90] = [
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
    "browser.brands",
    "browser.language",
    "browser.mobile",
    "browser.platform",
    "cloud.account.id",
    "cloud.availability_zone",
    "cloud.platform",
    "cloud.provider",
    "cloud.region",
    "cloud.resource_id",
    "container.id",
    "container.image.name",
    "container.image.tag",
    "container.name",
    "container.runtime",
    "deployment.environment",
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
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.container.restart_count",
    "k8s.cronjob.name",
    "k8s.cronjob.uid",
    "k8s.daemonset.name",
    "k8s.daemonset.uid",
    "k8s.deployment.name",
    "k8s.deployment.uid",
    "k8s.job.name",
    "k8s.job.uid",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.node.uid",
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.replicaset.name",
    "k8s.replicaset.uid",
    "k8s.statefulset.name",
    "k8s.statefulset.uid",
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
    "user_agent.original",
    "webengine.description",
    "webengine.name",
    "webengine.version",
];

/// Whether a tag describes the resource.
pub(super) fn describes_resource(tag: &str) -> bool {
    let mut name = tag;
    loop {
        if NAMES.binary_search(&name).is_ok() {
            return tag[name.len()..].bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.'));
        }
        match name.rsplit_once('.') {
            Some((shorter, _)) => name = shorter,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted() {
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn a_tag_describes_the_resource_by_its_name() {
        for (tag, expected) in [
            ("service.name", true),
            ("k8s.pod.name.more", true),
            ("service.name.Upper", false),
            ("service", false),
            ("host", false),
            ("service.names", false),
            ("", false),
        ] {
            assert_eq!(describes_resource(tag), expected, "{tag}");
        }
    }
}
