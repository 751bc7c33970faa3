//! Panics that are caught and become an error: nothing of them is printed.
//!
//! The database panics over invalid pages. What is wrong is said in a sentence of ours; a
//! message and a backtrace from inside a library would only hide it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread's panics are caught in [`caught`].
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Sets a hook that passes on what is not caught here: panics elsewhere are printed as before.
fn install_hook() {
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                before(panic);
            }
        }));
    });
}

/// Restores the thread's flag, after a panic too.
struct Restore(bool);

impl Drop for Restore {
    fn drop(&mut self) {
        CAUGHT.set(self.0);
    }
}

/// Does some work on this thread; a panic in it becomes its message.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    let _restore = Restore(CAUGHT.replace(true));
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("it cannot be read").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_the_thread_goes_on_as_before() {
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(caught::<()>(|| panic!("page {}", 3)), Err("page 3".into()));
        assert_eq!(caught::<()>(|| panic!("page")), Err("page".into()));
        assert!(!CAUGHT.get());
        let within = caught(|| (caught::<()>(|| panic!("inner")), CAUGHT.get()));
        assert_eq!(within, Ok((Err("inner".into()), true)));
    }
}
