//! This program in another role: a child process that says in one line where it is reached, and
//! lives until its parent lets go of its standard input.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

/// How a measurement went.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A child process; it ends when this is dropped.
pub struct Role {
    child: Child,
    output: BufReader<ChildStdout>,
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
        let mut role = Self {
            child,
            output: BufReader::new(output),
            line: String::new(),
        };
        role.line = role.answer()?;
        Ok(role)
    }

    /// Says a line to it and waits for its answer.
    pub fn ask(&mut self, line: &str) -> Outcome<String> {
        let input = self.child.stdin.as_mut().ok_or("the input is piped")?;
        writeln!(input, "{line}")?;
        self.answer()
    }

    fn answer(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
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

/// Says where a role is reached, and answers every line of the parent until it lets go.
pub fn serve(line: &str, mut answer: impl FnMut(&str) -> Outcome<String>) -> Outcome {
    println!("{line}");
    std::io::stdout().flush()?;
    for line in std::io::stdin().lines() {
        println!("{}", answer(&line?)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}
