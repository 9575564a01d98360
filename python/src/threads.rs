//! The pool that everything heavy runs in. Its size is the caller's to set, and results do not depend on it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{errors::refuse, keywords::size};

/// More threads than any machine has cores take longer to start than to work.
const MOST_THREADS: u64 = 1024;

pyo3::create_exception!(
    ncollapse,
    InternalError,
    PyRuntimeError,
    "A fault of this package, not of its caller. An accumulator that was being changed is not used again."
);

struct Pool {
    /// The process whose threads these are: a fork has none of them.
    process: u32,
    pool: Arc<ThreadPool>,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);

fn build(threads: usize) -> PyResult<Arc<ThreadPool>> {
    // Zero stands for RAYON_NUM_THREADS, or one a core.
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("ncollapse-{i}")).build();
    pool.map(Arc::new).map_err(|error| refuse(format!("threads: {error}")))
}

/// The pool of this process.
pub(crate) fn pool() -> PyResult<Arc<ThreadPool>> {
    let mut current = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Pool { process, pool }) = &*current {
        if *process == std::process::id() {
            return Ok(pool.clone());
        }
        // The threads are those of the parent: there is nothing here that could be joined.
        std::mem::forget(current.take());
    }
    let pool = build(0)?;
    *current = Some(Pool { process: std::process::id(), pool: pool.clone() });
    Ok(pool)
}

/// Runs `work` in the pool, without the lock of the interpreter.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let pool = pool()?;
    // What a panic has left half done is not used again: see `InternalError`.
    py.detach(|| catch_unwind(AssertUnwindSafe(|| pool.install(work)))).map_err(|panic| fault(&*panic))
}

/// The error of a panic, which is an exception that `except Exception` catches.
pub(crate) fn fault(panic: &(dyn Any + Send)) -> PyErr {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    InternalError::new_err(format!(
        "a fault of ncollapse, not of its caller: please report it, with what was called ({})",
        text.unwrap_or("no message")
    ))
}

/// Panics in the pool: for the test that this comes to Python as an `InternalError`.
#[pyfunction]
pub(crate) fn _panic(py: Python<'_>, message: String) -> PyResult<()> {
    detached(py, || std::panic::panic_any(message))
}

/// Sets the number of threads of all later calls; 0 stands for `RAYON_NUM_THREADS`, or one for each core.
///
/// Results are the same to the last bit for any number.
#[pyfunction]
pub(crate) fn set_num_threads(threads: &Bound<'_, PyAny>) -> PyResult<()> {
    let threads = size("threads", threads, 0..=MOST_THREADS)?;
    let pool = build(threads)?;
    let mut current = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let before = current.replace(Pool { process: std::process::id(), pool });
    if before.as_ref().is_some_and(|before| before.process != std::process::id()) {
        std::mem::forget(before);
    }
    Ok(())
}

/// The number of threads that the next call uses.
#[pyfunction]
pub(crate) fn get_num_threads() -> PyResult<usize> {
    Ok(pool()?.current_num_threads())
}
