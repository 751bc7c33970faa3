//! The simulator as a program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// With a code of its own, not by the signal: the first process of a container gets none that it does
/// not listen for, so an engine would wait and then kill it.
#[test]
fn it_ends_when_it_is_asked_to() {
    for signal in ["-TERM", "-INT"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_gitlab-simulator"))
            .args(["--listen", "127.0.0.1:0", "--projects", "1"])
            .args(["--history-hours", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(program.stdout.take().expect("an output"));
        let token = output.lines().map_while(Result::ok);
        assert!(token.into_iter().any(|line| line.starts_with("Token:")));
        let id = program.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("a shell's tool").success());
        let status = program.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
    }
}
