//! Test clusters: hosts as network namespaces.
