//! The components of this binary, and those that it knows by name only.

use component::{Registry, Unbuilt};

/// Everything that a configuration may name.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::default();
    receivers::register(&mut registry);
    processors::register(&mut registry);
    exporters::register(&mut registry);
    extensions::register(&mut registry);
    registry.unbuilt = unbuilt().filter(|unbuilt| !registry.kinds(unbuilt.role).contains(&unbuilt.kind)).collect();
    registry
}

/// Components of the Collector that configurations name and that are not built yet, by role.
const UNBUILT: [(&str, &[&str]); 5] = [
    ("receiver", &["hostmetrics", "host_metrics", "kafka", "prometheusremotewrite", "prometheus_remote_write"]),
    (
        "processor",
        &[
            "cumulativetodelta",
            "cumulative_to_delta",
            "deltatocumulative",
            "delta_to_cumulative",
            "filter",
            "groupbyattrs",
            "groupbytrace",
            "interval",
            "k8sattributes",
            "k8s_attributes",
            "metricstransform",
            "probabilistic_sampler",
            "redaction",
            "resourcedetection",
            "resource_detection",
            "span",
            "tail_sampling",
            "transform",
        ],
    ),
    ("exporter", &["clickhouse", "elasticsearch", "kafka", "loadbalancing", "load_balancing", "opencensus"]),
    (
        "connector",
        &["count", "exceptions", "failover", "routing", "servicegraph", "spanmetrics", "span_metrics", "sum"],
    ),
    ("extension", &["file_storage", "filestorage", "headers_setter", "oidc", "opamp"]),
];

fn unbuilt() -> impl Iterator<Item = Unbuilt> {
    UNBUILT.into_iter().flat_map(|(role, kinds)| kinds.iter().map(move |kind| Unbuilt { role, kind }))
}

#[cfg(test)]
mod tests {
    use super::registry;

    #[test]
    fn a_type_name_belongs_to_one_component_of_its_role() {
        let registry = registry();
        for role in ["receiver", "processor", "exporter", "connector", "extension"] {
            let mut kinds = registry.kinds(role);
            let all = kinds.len();
            kinds.sort_unstable();
            kinds.dedup();
            assert_eq!(kinds.len(), all, "{role}");
        }
    }

    #[test]
    fn a_component_that_is_built_is_not_among_the_unbuilt() {
        let registry = registry();
        for unbuilt in &registry.unbuilt {
            assert!(!registry.kinds(unbuilt.role).contains(&unbuilt.kind), "{unbuilt:?}");
        }
    }
}
