//! The resource that a scraped target is.

use std::net::IpAddr;

use otlp::encode::AttributesWriter;

/// What is known of a target beyond its series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The `job` label.
    pub job: String,
    /// The `instance` label.
    pub instance: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Further attributes of the resource, from discovery.
    pub attributes: Vec<(String, String)>,
}

/// The labels of Kubernetes' discovery that describe a resource.
const KUBERNETES: [(&str, &str); 7] = [
    ("__meta_kubernetes_pod_name", "k8s.pod.name"),
    ("__meta_kubernetes_pod_uid", "k8s.pod.uid"),
    ("__meta_kubernetes_pod_container_name", "k8s.container.name"),
    ("__meta_kubernetes_namespace", "k8s.namespace.name"),
    ("__meta_kubernetes_pod_node_name", "k8s.node.name"),
    ("__meta_kubernetes_node_name", "k8s.node.name"),
    ("__meta_kubernetes_endpoint_node_name", "k8s.node.name"),
];

impl Target {
    /// The attributes that the labels of a target, as they were discovered, give its resource: those of Kubernetes.
    pub fn discovered_attributes<'l>(mut label: impl FnMut(&str) -> Option<&'l str>) -> Vec<(String, String)> {
        let mut attributes: Vec<(String, String)> = Vec::new();
        for (name, key) in KUBERNETES {
            let value = label(name).filter(|value| !value.is_empty());
            if let Some(value) = value.filter(|_| attributes.iter().all(|(present, _)| present != key)) {
                attributes.push((key.to_owned(), value.to_owned()));
            }
        }
        let controller = label("__meta_kubernetes_pod_controller_name").filter(|name| !name.is_empty());
        let key = match label("__meta_kubernetes_pod_controller_kind") {
            Some("ReplicaSet") => "k8s.replicaset.name",
            Some("DaemonSet") => "k8s.daemonset.name",
            Some("StatefulSet") => "k8s.statefulset.name",
            Some("Job") => "k8s.job.name",
            Some("CronJob") => "k8s.cronjob.name",
            _ => return attributes,
        };
        attributes.extend(controller.map(|name| (key.to_owned(), name.to_owned())));
        attributes
    }
}

/// The attributes of a resource, each key once: a later value replaces an earlier one, in its place.
#[derive(Debug, Default)]
pub(super) struct ResourceAttributes<'s> {
    pairs: Vec<(&'s str, &'s str)>,
}

impl<'s> ResourceAttributes<'s> {
    /// What `job` and `instance` say, and the target itself.
    pub(super) fn of(job: &'s str, instance: &'s str, target: &'s Target) -> Self {
        let (host, port) = split_host_port(instance);
        let mut attributes = ResourceAttributes::default();
        attributes.set("service.name", job);
        if is_discernible_host(host) {
            attributes.set("server.address", host);
        }
        attributes.set("service.instance.id", instance);
        attributes.set("server.port", port);
        attributes.set("url.scheme", &target.scheme);
        for (key, value) in &target.attributes {
            attributes.set(key, value);
        }
        attributes
    }

    /// Sets one attribute; an empty value sets nothing.
    pub(super) fn set(&mut self, key: &'s str, value: &'s str) {
        if value.is_empty() {
            return;
        }
        match self.pairs.iter_mut().find(|(present, _)| *present == key) {
            Some(pair) => pair.1 = value,
            None => self.pairs.push((key, value)),
        }
    }

    pub(super) fn write(&self, mut attributes: AttributesWriter<'_>) {
        for (key, value) in &self.pairs {
            attributes.string(key, value);
        }
    }
}

/// The host and the port of an address; the whole and no port if it has none.
fn split_host_port(address: &str) -> (&str, &str) {
    let whole = (address, "");
    if let Some(inner) = address.strip_prefix('[') {
        let Some((host, rest)) = inner.split_once(']') else { return whole };
        return rest.strip_prefix(':').map_or(whole, |port| (host, port));
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port),
        _ => whole,
    }
}

/// Whether a host means the same machine to whoever reads it.
fn is_discernible_host(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => !ip.is_loopback() && !ip.is_unspecified(),
        Err(_) => host != "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(instance: &str, expected: &[(&str, &str)]) {
        let target = Target { scheme: "http".to_owned(), ..Target::default() };
        let attributes = ResourceAttributes::of("shop", instance, &target);
        let mut all = vec![("service.name", "shop")];
        all.extend_from_slice(expected);
        all.push(("url.scheme", "http"));
        assert_eq!(attributes.pairs, all, "{instance}");
    }

    #[test]
    fn an_instance_is_the_address_if_it_means_something_elsewhere() {
        let id = |id| ("service.instance.id", id);
        check("shop-1:8080", &[("server.address", "shop-1"), id("shop-1:8080"), ("server.port", "8080")]);
        check("10.0.0.7:80", &[("server.address", "10.0.0.7"), id("10.0.0.7:80"), ("server.port", "80")]);
        check("[2001:db8::1]:80", &[("server.address", "2001:db8::1"), id("[2001:db8::1]:80"), ("server.port", "80")]);
        check("localhost:80", &[id("localhost:80"), ("server.port", "80")]);
        check("127.0.0.1:80", &[id("127.0.0.1:80"), ("server.port", "80")]);
        check("[::1]:80", &[id("[::1]:80"), ("server.port", "80")]);
        check("0.0.0.0:80", &[id("0.0.0.0:80"), ("server.port", "80")]);
        check("a-name", &[("server.address", "a-name"), id("a-name")]);
    }

    #[test]
    fn discovery_in_kubernetes_describes_the_resource() {
        let labels = [
            ("__meta_kubernetes_pod_name", "shop-1"),
            ("__meta_kubernetes_namespace", "prod"),
            ("__meta_kubernetes_pod_controller_kind", "ReplicaSet"),
            ("__meta_kubernetes_pod_controller_name", "shop"),
        ];
        let found = Target::discovered_attributes(|name| labels.iter().find(|pair| pair.0 == name).map(|pair| pair.1));
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let expected = [("k8s.pod.name", "shop-1"), ("k8s.namespace.name", "prod"), ("k8s.replicaset.name", "shop")];
        assert_eq!(found, expected);
    }
}
