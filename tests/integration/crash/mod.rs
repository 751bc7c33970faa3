//! The exporter is killed again and again, at any moment, while GitLab lives on and a Prometheus
//! looks every second.

mod program;
mod reading;
mod with_state;
mod without_state;
