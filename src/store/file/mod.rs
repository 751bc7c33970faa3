//! The store in a file (`state.path`): an embedded database, one transaction per commit.
//!
//! What is in it is in [`format`]. A file is first read as a whole by way of a [`dry`] run that
//! writes nothing to it, so that one that cannot be used is left as it is.
//!
//! Whatever damages a file that was closed in order is found: the database checks its pages, and each
//! record and each table has a checksum of ours.

mod dry;
mod format;
mod owner;
mod quiet;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redb::Database;
use url::Url;

use super::records::Loaded;
use super::{Commit, Remembered, Store, StoreError};
use crate::clock::Clock;
use dry::DryRun;
use format::{Begun, Committed, Identity};
use owner::Owner;

pub use format::Bytes;

/// How often a file that another process holds is tried again.
const STEP: Duration = Duration::from_millis(100);
/// The database's own memory; the rest is left to the system's page cache.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// A file is compacted at the start when it is larger than this, and more than half is free.
const COMPACT_BYTES: u64 = 16 * 1024 * 1024;

/// How the file is opened.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// `state.path`.
    pub path: PathBuf,
    /// Puts an existing file aside and starts with an empty state (`--state-reset`).
    pub reset: bool,
    /// How long a file that another process holds is waited for.
    pub patience: Duration,
    /// The GitLab whose state it holds.
    pub gitlab: Url,
    /// Takes the state of another address for that of this one (`state.accept_instance`).
    pub accept_instance: bool,
}

/// What happens while a file is opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Opening {
    /// Another process holds it.
    #[error("state.path: {path} is held by {owner}; waiting up to {patience:?} for it to end")]
    Waiting {
        /// The file.
        path: PathBuf,
        /// Who holds it.
        owner: String,
        /// How long it is waited for.
        patience: Duration,
    },
    /// The old file was put aside.
    #[error("state.path: starting with empty state; the old state is kept in {0}")]
    PutAside(PathBuf),
    /// It held the state of another address, which is accepted.
    #[error(
        "state.path: the state of {found} continues as that of {given}; state.accept_instance can be \
         removed now"
    )]
    Accepted {
        /// The address it held the state of.
        found: String,
        /// The address it holds the state of from now on.
        given: String,
    },
    /// An earlier version wrote some of it.
    #[error("state.path: upgraded {0} records of an earlier version")]
    Upgraded(usize),
    /// Series that an earlier version counted cannot continue.
    #[error(
        "state.path: {series} series of {metric} reset: they have no equivalent in this version"
    )]
    Dropped {
        /// The metric's name in the earlier version.
        metric: String,
        /// How many.
        series: usize,
    },
}

/// Why a file cannot be used. It is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it still.
    #[error(
        "state.path: {path} is held by {owner}; stop that process, or give this one a file of its own"
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// Who holds it.
        owner: String,
    },
    /// It is damaged, or no state file.
    #[error(
        "state.path: {path} is damaged or no state of this program ({why}); restore a copy of it, or \
         start with empty state with --state-reset, which keeps the old file aside"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A later version wrote it.
    #[error(
        "state.path: {path} was written by a later version of this program ({why}); use that version, or \
         start with empty state with --state-reset, which keeps the old file aside"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// What is newer.
        why: String,
    },
    /// It holds the state of another GitLab.
    #[error(
        "state.path: {path} holds the state of {found}, and gitlab.url is {given}; start with empty state \
         with --state-reset, which keeps the old file aside, or set state.accept_instance: true if both \
         are the same GitLab"
    )]
    OtherInstance {
        /// The file.
        path: PathBuf,
        /// The address whose state it holds.
        found: String,
        /// The address in the settings.
        given: String,
    },
    /// It cannot be reached.
    #[error(
        "state.path: {path} cannot be opened ({error}); the folder must exist, and the folder and the file \
         must be writable"
    )]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

/// State in a file.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<SharedFile>,
    instance_id: String,
}

#[derive(Debug)]
struct SharedFile {
    path: PathBuf,
    identity: Identity,
    state: Mutex<OpenState>,
}

#[derive(Debug)]
struct OpenState {
    /// None after a disk error: the database has to be opened again then.
    database: Option<Database>,
    /// What was read when it was opened, for the first caller.
    remembered: Option<Remembered>,
    /// The memories that are in the file unchanged: what changed since is known without
    /// encoding it.
    committed: Committed,
    bytes: Bytes,
}

impl FileStore {
    /// Opens the file, or creates one. `notify` gets what is worth a message meanwhile.
    ///
    /// # Errors
    /// When it cannot be used; a file that is there is left as it was.
    pub fn open(
        settings: &FileSettings,
        clock: &Clock,
        mut notify: impl FnMut(Opening),
    ) -> Result<Self, OpenError> {
        let path = &settings.path;
        if settings.reset
            && let Some(aside) = put_aside(path, clock)?
        {
            notify(Opening::PutAside(aside));
        }
        let identity = Identity {
            gitlab: address(&settings.gitlab),
            accept: settings.accept_instance,
        };
        let loaded = patiently(settings, &mut notify, || try_reading(path, &identity))?;
        let database = patiently(settings, &mut notify, || open_database(path, &identity))?;
        let (database, begun) = prepare(path, &identity, database, &loaded)?;
        Owner::this(clock).note(path);
        report(&loaded, &begun, &identity, &mut notify);
        let remembered = loaded.remembered;
        Ok(Self {
            shared: Arc::new(SharedFile {
                path: path.clone(),
                identity,
                state: Mutex::new(OpenState {
                    database: Some(database),
                    committed: remembered.projects.iter().cloned().collect(),
                    remembered: Some(remembered),
                    bytes: Bytes::default(),
                }),
            }),
            instance_id: begun.instance_id,
        })
    }

    /// The id of this exporter: made once, the same after every restart.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// Bytes of records since it was opened.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.shared.lock().bytes
    }
}

impl SharedFile {
    fn lock(&self) -> MutexGuard<'_, OpenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the database; after a disk error it is opened again the next time.
    fn with<T>(
        &self,
        state: &mut OpenState,
        work: impl FnOnce(&Database, &Committed) -> Result<T, format::Error>,
    ) -> Result<T, StoreError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("state.path: {}: {error}", self.path.display()))
        };
        let database = match state.database.take() {
            Some(database) => database,
            // The file may have been removed: then this one is new, and needs its format, too.
            None => {
                state.committed.clear();
                open_database(&self.path, &self.identity)
                    .and_then(|database| {
                        prepare(&self.path, &self.identity, database, &Loaded::default())
                    })
                    .map_err(|error| unavailable(&error))?
                    .0
            }
        };
        // The database goes within: one that has failed may panic again when it is closed.
        let committed = &state.committed;
        let (result, database) =
            format::guarded(move || Ok((work(&database, committed)?, database)))
                .map_err(|error| unavailable(&error))?;
        state.database = Some(database);
        Ok(result)
    }

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.remembered = None;
        let bytes = self.with(&mut state, |database, committed| {
            format::write(database, commit, committed)
        })?;
        state.bytes.encoded += bytes.encoded;
        state.bytes.written += bytes.written;
        for (id, memory) in &commit.projects {
            match memory {
                Some(memory) => state.committed.insert(*id, Arc::clone(memory)),
                None => state.committed.remove(id),
            };
        }
        Ok(())
    }

    fn load(&self) -> Result<Remembered, StoreError> {
        let mut state = self.lock();
        match state.remembered.take() {
            Some(remembered) => Ok(remembered),
            None => {
                let loaded = self.with(&mut state, |database, _| format::read(database))?;
                Ok(loaded.remembered)
            }
        }
    }
}

#[async_trait]
impl Store for FileStore {
    async fn load(&self) -> Result<Remembered, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.load()).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.commit(&commit)).await
    }

    fn is_durable(&self) -> bool {
        true
    }
}

/// The disk may take its time: not on the threads that everything else runs on.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
}

/// Moves a file away, to a name that nothing has yet.
fn put_aside(path: &Path, clock: &Clock) -> Result<Option<PathBuf>, OpenError> {
    if !path.exists() {
        return Ok(None);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.old", clock.now().0));
    let aside = PathBuf::from(name);
    fs::rename(path, &aside).map_err(|error| unreachable(path, error))?;
    Ok(Some(aside))
}

/// Retries while another process holds the file, for at most the configured time.
fn patiently<T>(
    settings: &FileSettings,
    notify: &mut impl FnMut(Opening),
    mut open: impl FnMut() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let start = Instant::now();
    let mut reported = false;
    loop {
        match open() {
            Err(OpenError::Held { path, owner }) if start.elapsed() < settings.patience => {
                if !reported {
                    reported = true;
                    let patience = settings.patience;
                    notify(Opening::Waiting {
                        path,
                        owner,
                        patience,
                    });
                }
                std::thread::sleep(STEP);
            }
            opened => return opened,
        }
    }
}

/// The address of a GitLab, however it is written.
fn address(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// Reports what was done to a file while it was opened.
fn report(loaded: &Loaded, begun: &Begun, identity: &Identity, notify: &mut impl FnMut(Opening)) {
    if let Some(found) = &begun.accepted {
        notify(Opening::Accepted {
            found: found.clone(),
            given: identity.gitlab.clone(),
        });
    }
    if loaded.outdated.len() > 0 {
        notify(Opening::Upgraded(loaded.outdated.len()));
    }
    for (metric, series) in loaded.outdated.dropped() {
        notify(Opening::Dropped { metric, series });
    }
}

/// Reads a file without writing to it; one that is not there holds nothing.
fn try_reading(path: &Path, identity: &Identity) -> Result<Loaded, OpenError> {
    let file = match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(error) => return Err(unreachable(path, error)),
    };
    let metadata = file.metadata().map_err(|error| unreachable(path, error))?;
    if !metadata.is_file() {
        return Err(damaged(path, "it is no file"));
    }
    if metadata.len() == 0 {
        return Err(damaged(path, "it is empty"));
    }
    format::guarded(move || {
        let backend = DryRun::of(file, metadata.len())?;
        let mut database = builder().create_with_backend(backend)?;
        // What was not closed in order has been repaired by now.
        if !database.check_integrity()? {
            let why = "its pages do not match their checksums";
            return Err(format::Error::Damaged(why.to_owned()));
        }
        // What opening it is going to write, so that what fails then fails here.
        format::begin(&database, identity)?;
        let loaded = format::read(&database)?;
        format::rewrite(&database, &loaded)?;
        Ok(loaded)
    })
    .map_err(|error| of_database(path, identity, error))
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn open_database(path: &Path, identity: &Identity) -> Result<Database, OpenError> {
    format::guarded(|| Ok(builder().create(path)?))
        .map_err(|error| of_database(path, identity, error))
}

/// Brings a database up to date.
fn prepare(
    path: &Path,
    identity: &Identity,
    mut database: Database,
    loaded: &Loaded,
) -> Result<(Database, Begun), OpenError> {
    // The database goes within: one that has failed may panic again when it is closed.
    let prepared = format::guarded(move || {
        let begun = format::begin(&database, identity)?;
        format::rewrite(&database, loaded)?;
        let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
        if size > COMPACT_BYTES && format::used(&database)? < size / 2 {
            database.compact()?;
        }
        Ok((database, begun))
    });
    prepared.map_err(|error| of_database(path, identity, error))
}

fn damaged(path: &Path, why: impl ToString) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn unreachable(path: &Path, error: io::Error) -> OpenError {
    OpenError::Unreachable {
        path: path.to_owned(),
        error,
    }
}

fn of_database(path: &Path, identity: &Identity, error: format::Error) -> OpenError {
    let error = match error {
        format::Error::Database(error) => *error,
        format::Error::TooNew(why) => {
            return OpenError::TooNew {
                path: path.to_owned(),
                why,
            };
        }
        format::Error::OtherInstance(found) => {
            return OpenError::OtherInstance {
                path: path.to_owned(),
                found,
                given: identity.gitlab.clone(),
            };
        }
        format::Error::Damaged(why) => return damaged(path, why),
    };
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::Held {
            path: path.to_owned(),
            owner: Owner::of(path),
        },
        // A file that is cut short is read beyond its end; one of another kind has other first bytes.
        redb::Error::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => damaged(path, error),
            _ => unreachable(path, error),
        },
        error => damaged(path, error),
    }
}
