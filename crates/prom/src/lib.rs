//! The Prometheus data model: exposition formats, relabelling, names, remote write messages.
