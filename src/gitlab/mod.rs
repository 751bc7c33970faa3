//! The only place that talks to GitLab.

pub mod model;
