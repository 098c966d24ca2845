//! Configuration files as a tree with positions, and readers that report every error at once.
