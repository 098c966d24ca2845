//! Processors, one module each; no I/O.
