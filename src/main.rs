//! Command line in, exit code out.

fn main() -> std::process::ExitCode {
    amazing_gitlab_exporter::cli::main()
}
