//! The panic guard around an author's instance.

use crate::error::{AbiResult, ErrorKind, PluginError, Result};
use abi_stable::std_types::{RErr, ROk};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// An author's instance, and its name in messages.
pub(crate) struct Guarded<T> {
    inner: ManuallyDrop<T>,
    who: String,
    poisoned: AtomicBool,
}

impl<T> Guarded<T> {
    /// `who` names plugin and component, such as ``plugin `toy`, task `squares` ``.
    pub(crate) fn new(inner: T, who: impl Into<String>) -> Self {
        Guarded {
            inner: ManuallyDrop::new(inner),
            who: who.into(),
            poisoned: AtomicBool::new(false),
        }
    }

    pub(crate) fn who(&self) -> &str {
        &self.who
    }

    pub(crate) fn call<R>(&self, method: &str, f: impl FnOnce(&T) -> Result<R>) -> AbiResult<R> {
        if self.poisoned.load(Ordering::Acquire) {
            return RErr(self.refusal(method));
        }
        let result = catch(&self.who, method, || f(&self.inner));
        self.after(result)
    }

    pub(crate) fn call_mut<R>(&mut self, method: &str, f: impl FnOnce(&mut T) -> Result<R>) -> AbiResult<R> {
        if self.poisoned.load(Ordering::Acquire) {
            return RErr(self.refusal(method));
        }
        let result = catch(&self.who, method, || f(&mut self.inner));
        self.after(result)
    }

    fn refusal(&self, method: &str) -> PluginError {
        let message = format!(
            "{}: `{method}` was not called, since an earlier call panicked",
            self.who
        );
        PluginError::new(ErrorKind::PANIC, message)
    }

    fn after<R>(&self, result: Result<R>) -> AbiResult<R> {
        match result {
            Ok(value) => ROk(value),
            Err(error) => {
                if error.kind == ErrorKind::PANIC {
                    self.poisoned.store(true, Ordering::Release);
                }
                RErr(error)
            }
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        if self.poisoned.load(Ordering::Acquire) {
            return; // its state can't be trusted: leak it
        }
        let inner = &mut self.inner;
        let result = catch(&self.who, "drop", || {
            crate::raw::drop_once(inner);
            Ok(())
        });
        if let Err(error) = result {
            tracing::error!("{error}");
        }
    }
}

/// Runs `f`. A panic becomes an error that names `who`, the method, the message and the place.
pub(crate) fn catch<R>(who: &str, method: &str, f: impl FnOnce() -> Result<R>) -> Result<R> {
    install_hook();
    let outer = GUARDED.replace(true);
    let caught = catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(outer);
    match caught {
        Ok(result) => result,
        Err(payload) => {
            let place = PLACE.with(|p| p.borrow_mut().take()).unwrap_or_default();
            let message = format!("{who}: `{method}` panicked{place}: {}", message_of(&*payload));
            // Dropping a payload could panic again.
            std::mem::forget(payload);
            Err(PluginError::new(ErrorKind::PANIC, message)
                .with_help("this is a bug in the plugin; report it to its authors"))
        }
    }
}

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread is inside of a guarded call.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the place of a panic for the error instead of printing it. A panic in a thread that the
/// plugin has started is caught by nobody here, so it is logged. The hook belongs to the plugin's own
/// copy of the standard library; the host's is not touched.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(|l| format!(" at {}:{}", l.file(), l.line()));
            if GUARDED.try_with(Cell::get).unwrap_or(false) {
                let _ = PLACE.try_with(|p| *p.borrow_mut() = place);
                return;
            }
            let thread = std::thread::current();
            tracing::error!(
                "a thread of the plugin ({}) panicked{}: {}",
                thread.name().unwrap_or("without a name"),
                place.unwrap_or_default(),
                message_of(info.payload())
            );
        }));
    });
}

fn message_of(payload: &dyn Any) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
