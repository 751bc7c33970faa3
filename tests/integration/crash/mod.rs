//! The exporter is killed again and again, at any moment, while GitLab lives on and a Prometheus
//! looks every second.

pub mod program;
pub mod reading;
pub mod with_state;
mod without_state;
