//! Traffic of every signal, and counting backends that track identities.
