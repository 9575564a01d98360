//! The pool that everything heavy runs in. Its size is the caller's to set, and results do not depend on it.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::errors::refuse;

/// More threads than any machine has cores take longer to start than to work.
const MOST_THREADS: usize = 1024;

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
    Ok(py.detach(|| pool.install(work)))
}

/// Sets the number of threads of all later calls; 0 stands for `RAYON_NUM_THREADS`, or one for each core.
///
/// Results are the same to the last bit for any number.
#[pyfunction]
pub(crate) fn set_num_threads(threads: usize) -> PyResult<()> {
    if threads > MOST_THREADS {
        return Err(refuse(format!("threads: {threads} given, 0 to {MOST_THREADS} are accepted")));
    }
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
