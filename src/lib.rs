//! amazing-gitlab-exporter

pub mod config;
