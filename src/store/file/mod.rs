//! The store in a file (`state.path`): an embedded database, one transaction per commit.
//!
//! What is in it is in [`format`]. A file is first read as a whole by way of a [`dry`] run that
//! writes nothing to it, so that one that cannot be used is left as it is.

mod dry;
mod format;
mod owner;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redb::Database;

use super::{Commit, Fence, Remembered, Store, StoreError};
use crate::clock::Clock;
use dry::DryRun;
use owner::Owner;

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
    /// Puts a file that is there aside and starts anew (`--state-reset`).
    pub reset: bool,
    /// How long a file that another process holds is waited for.
    pub patience: Duration,
}

/// What happens while a file is opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Opening {
    /// Another process holds it.
    #[error("state.path: {path} is held by {owner}; waiting up to {patience:?} for its end")]
    Waiting {
        /// The file.
        path: PathBuf,
        /// Who holds it.
        owner: String,
        /// How long it is waited for.
        patience: Duration,
    },
    /// The old file was put aside.
    #[error("state.path: starting anew; the old state is kept in {0}")]
    PutAside(PathBuf),
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
         start anew with --state-reset, which keeps the old file aside"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A later version wrote it.
    #[error(
        "state.path: {path} has format {found}, and this version knows formats up to {known}; use the \
         version that wrote it, or start anew with --state-reset, which keeps the old file aside"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format that this program knows.
        known: u32,
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
    shared: Arc<Shared>,
    instance_id: String,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None after an error of the disk: the database wants to be opened anew then.
    database: Option<Database>,
    /// What was read when it was opened, for whoever asks first.
    remembered: Option<Remembered>,
    fence: Option<Fence>,
}

impl FileStore {
    /// Opens the file, or makes one. `tell` hears what is worth a message meanwhile.
    ///
    /// # Errors
    /// When it cannot be used; a file that is there is left as it was.
    pub fn open(
        settings: &FileSettings,
        clock: &Clock,
        mut tell: impl FnMut(Opening),
    ) -> Result<Self, OpenError> {
        let path = &settings.path;
        if settings.reset
            && let Some(aside) = put_aside(path, clock)?
        {
            tell(Opening::PutAside(aside));
        }
        let remembered = patiently(settings, &mut tell, || try_reading(path))?;
        let database = patiently(settings, &mut tell, || open_database(path))?;
        let (database, instance_id) = prepare(path, database)?;
        Owner::this(clock).note(path);
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.clone(),
                state: Mutex::new(State {
                    database: Some(database),
                    remembered: Some(remembered),
                    fence: None,
                }),
            }),
            instance_id,
        })
    }

    /// The id of this exporter: made once, the same after every restart.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    #[cfg(test)]
    fn fence(&self, fence: Fence) {
        self.shared.lock().fence = Some(fence);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the database; after an error of the disk it is opened anew the next time.
    fn with<T>(
        &self,
        state: &mut State,
        work: impl FnOnce(&Database) -> Result<T, format::Error>,
    ) -> Result<T, StoreError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("state.path: {}: {error}", self.path.display()))
        };
        let database = match state.database.take() {
            Some(database) => database,
            // The file may be gone: then this one is new, and is to say its format, too.
            None => {
                open_database(&self.path)
                    .and_then(|database| prepare(&self.path, database))
                    .map_err(|error| unavailable(&error))?
                    .0
            }
        };
        // The database goes within: one that has failed may panic again when it is closed.
        let (result, database) = format::guarded(move || Ok((work(&database)?, database)))
            .map_err(|error| unavailable(&error))?;
        state.database = Some(database);
        Ok(result)
    }

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut state = self.lock();
        if let Some(current) = state.fence
            && commit.fence.is_none_or(|held| held < current)
        {
            return Err(StoreError::Fenced {
                held: commit.fence,
                current,
            });
        }
        state.remembered = None;
        self.with(&mut state, |database| format::write(database, commit))
    }

    fn load(&self) -> Result<Remembered, StoreError> {
        let mut state = self.lock();
        match state.remembered.take() {
            Some(remembered) => Ok(remembered),
            None => self.with(&mut state, format::read),
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

/// Tries until nobody else holds the file, or patience is at its end.
fn patiently<T>(
    settings: &FileSettings,
    tell: &mut impl FnMut(Opening),
    mut open: impl FnMut() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let start = Instant::now();
    let mut told = false;
    loop {
        match open() {
            Err(OpenError::Held { path, owner }) if start.elapsed() < settings.patience => {
                if !told {
                    told = true;
                    let patience = settings.patience;
                    tell(Opening::Waiting {
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

/// Reads a file without writing to it; one that is not there holds nothing.
fn try_reading(path: &Path) -> Result<Remembered, OpenError> {
    let file = match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Remembered::default()),
        Err(error) => return Err(unreachable(path, error)),
    };
    let metadata = file.metadata().map_err(|error| unreachable(path, error))?;
    if !metadata.is_file() {
        return Err(damaged(path, "it is no file"));
    }
    if metadata.len() == 0 {
        return Err(damaged(path, "it is empty"));
    }
    format::guarded(|| {
        let backend = DryRun::of(file, metadata.len())?;
        let database = builder().create_with_backend(backend)?;
        format::upgrade(&database)?;
        // What opening it is going to write, so that what fails then fails here.
        format::instance_id(&database)?;
        format::read(&database)
    })
    .map_err(|error| of_database(path, error))
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn open_database(path: &Path) -> Result<Database, OpenError> {
    format::guarded(|| Ok(builder().create(path)?)).map_err(|error| of_database(path, error))
}

/// Brings a database up to date.
fn prepare(path: &Path, mut database: Database) -> Result<(Database, String), OpenError> {
    // The database goes within: one that has failed may panic again when it is closed.
    let prepared = format::guarded(move || {
        format::upgrade(&database)?;
        let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
        if size > COMPACT_BYTES && format::used(&database)? < size / 2 {
            database.compact()?;
        }
        let instance_id = format::instance_id(&database)?;
        Ok((database, instance_id))
    });
    prepared.map_err(|error| of_database(path, error))
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

fn of_database(path: &Path, error: format::Error) -> OpenError {
    let error = match error {
        format::Error::Database(error) => *error,
        format::Error::TooNew(found) => {
            return OpenError::TooNew {
                path: path.to_owned(),
                found,
                known: format::VERSION,
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
