//! The JSON against Grafana's own types.
