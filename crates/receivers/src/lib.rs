//! Receivers, one module for each protocol.
