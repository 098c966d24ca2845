//! An append-only journal of opaque records with many cursors.
