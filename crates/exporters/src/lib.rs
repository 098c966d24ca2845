//! Exporters, one module for each backend protocol.
