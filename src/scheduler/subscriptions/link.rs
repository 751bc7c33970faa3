//! One connection: carries commands there and messages back.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{Instrument as _, info_span};

use super::board::Link;
use crate::gitlab::{Cable, CableEnd, CableError, CableMessage, Cables};

/// What the other side wants.
#[derive(Debug)]
pub(super) enum Command {
    Subscribe(Arc<str>),
    Unsubscribe(Arc<str>),
}

/// What becomes of a connection.
#[derive(Debug)]
pub(super) enum Report {
    Welcomed,
    Refused(String),
    NotConnected(String),
    Message(CableMessage),
    Ended(CableEnd),
}

/// Opens a connection and serves it until it ends, or nobody sends commands any more.
pub(super) async fn run(
    link: Link,
    cables: Cables,
    mut commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::Sender<(Link, Report)>,
) {
    // One span for the attempt; messages have none.
    let span = info_span!("task", otel.name = "subscriptions", task = "subscriptions");
    let connected = tokio::select! {
        connected = cables.connect().instrument(span) => connected,
        () = closed(&mut commands) => return,
    };
    let cable = match connected {
        Ok(cable) => cable,
        Err(error) => {
            let report = match error {
                CableError::Refused(why) => Report::Refused(why),
                failed @ CableError::Failed(_) => Report::NotConnected(failed.to_string()),
            };
            // Nobody listens at the end of the program.
            let _ = reports.send((link, report)).await;
            return;
        }
    };
    if reports.send((link, Report::Welcomed)).await.is_err() {
        return;
    }
    if let Err(end) = serve(link, cable, &mut commands, &reports).await {
        let _ = reports.send((link, Report::Ended(end))).await;
    }
}

/// Until nobody sends commands any more: none is sent before the welcome.
async fn closed(commands: &mut mpsc::UnboundedReceiver<Command>) {
    while commands.recv().await.is_some() {}
}

async fn serve(
    link: Link,
    mut cable: Cable,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    reports: &mpsc::Sender<(Link, Report)>,
) -> Result<(), CableEnd> {
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Subscribe(name)) => cable.subscribe(&name).await?,
                Some(Command::Unsubscribe(name)) => cable.unsubscribe(&name).await?,
                None => {
                    cable.close().await;
                    return Ok(());
                }
            },
            message = cable.next() => {
                if reports.send((link, Report::Message(message?))).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
