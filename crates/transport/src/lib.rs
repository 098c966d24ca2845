//! HTTP and gRPC servers and clients with TLS, compression, limits and time-outs.
