//! A program that a test starts, and that ends with the test.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use super::eventually;

/// A running program. It is killed when dropped, also when the test fails.
pub struct Program {
    name: String,
    child: Child,
    /// Everything it keeps, its output included; removed with it.
    folder: TempDir,
}

impl Program {
    /// Starts `command` with a folder of its own as working directory.
    pub fn start(command: Command) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), command)
    }

    /// Starts `command` in a folder that the test has prepared.
    pub fn start_in(folder: TempDir, mut command: Command) -> Self {
        let file = |name| File::create(folder.path().join(name)).expect("a file for output");
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} starts: {error}"));
        Self {
            name: command.get_program().to_string_lossy().into_owned(),
            child,
            folder,
        }
    }

    /// Its process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it has written to standard error.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path(name)).expect("its output can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until what it wrote to either output tells `look` something.
    ///
    /// # Panics
    /// With its output when it ends before or takes too long.
    pub async fn tells<T>(&mut self, what: &str, mut look: impl FnMut(&str) -> Option<T>) -> T {
        let mut told = None;
        eventually(&format!("{} tells {what}", self.name), || {
            let output = self.stdout() + &self.stderr();
            told = look(&output);
            let ended = self.child.try_wait().expect("its state can be asked");
            assert!(
                told.is_some() || ended.is_none(),
                "{} ended with {ended:?}: {output}",
                self.name
            );
            told.is_some()
        })
        .await;
        told.expect("it was told")
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success(), "SIG{name} is sent");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually(&format!("{} ends", self.name), || {
            status = self.child.try_wait().expect("its state can be asked");
            status.is_some()
        })
        .await;
        status.expect("it ended")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only for a program that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let output = self.stdout() + &self.stderr();
            let tail: Vec<&str> = output.lines().rev().take(30).collect();
            println!("--- the last of {}:", self.name);
            tail.iter().rev().for_each(|line| println!("{line}"));
        }
    }
}

/// An address that was free a moment ago, for programs that cannot choose one themselves.
pub fn free_address() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has ports");
    listener.local_addr().expect("it is bound").to_string()
}
