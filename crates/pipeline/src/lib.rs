//! Configuration to graph to running tasks; the ledger; own telemetry.
