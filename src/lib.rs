//! amazing-gitlab-exporter
