//! This program in another role: a child process that says in one line where it is reached, and
//! lives until its parent lets go of its standard input.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

/// How a measurement went.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A child process; it ends when this is dropped.
pub struct Role {
    child: Child,
    /// What it said.
    pub line: String,
}

impl Role {
    /// Starts this program in a role and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("the output is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        Ok(Self { child, line })
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Says where a role is reached, and waits until the parent lets go.
pub fn ready(line: &str) -> Outcome {
    println!("{line}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
