//! The contracts that components implement: receiver, processor, exporter, connector, extension.
