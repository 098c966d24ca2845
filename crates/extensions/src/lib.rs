//! Extensions: health check and authenticators.
