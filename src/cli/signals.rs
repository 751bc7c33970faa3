//! The signals that `run` hears.

use tokio::signal;

/// Waits for a signal that asks the process to end; from its first poll on, these signals do nothing else.
#[cfg(unix)]
pub(super) async fn stopped() {
    match signal::unix::signal(signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = signal::ctrl_c().await;
        }
    }
}

/// Waits for what asks the process to end: Ctrl-C; Ctrl-Break, which is what a process in a group of
/// its own can be sent; the end of the console, of the container or of the system.
#[cfg(windows)]
pub(super) async fn stopped() {
    use signal::windows::{ctrl_break, ctrl_close, ctrl_shutdown};
    match (ctrl_break(), ctrl_close(), ctrl_shutdown()) {
        (Ok(mut interrupt), Ok(mut close), Ok(mut shutdown)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = close.recv() => {}
                _ = shutdown.recv() => {}
                _ = signal::ctrl_c() => {}
            }
        }
        _ => {
            let _ = signal::ctrl_c().await;
        }
    }
}

/// SIGHUP, which asks for the configuration to be read again. Left alone, it would end this program.
pub(super) struct Hangups {
    #[cfg(unix)]
    signals: Option<signal::unix::Signal>,
}

impl Hangups {
    /// From now on the signal ends nothing.
    #[cfg(unix)]
    pub(super) fn new() -> Self {
        let signals = signal::unix::signal(signal::unix::SignalKind::hangup()).ok();
        Self { signals }
    }

    /// There is no such signal.
    #[cfg(not(unix))]
    pub(super) fn new() -> Self {
        Self {}
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signals) = &mut self.signals
            && signals.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
