//! The native half of the Python package `ncollapse`: arrays in, plain objects out. The Python half is in `ncollapse/`.
//!
//! - [`objects`], [`arrays`], [`labels`], [`matrices`]: arrays of NumPy, PyTorch and others, read where they lie or
//!   copied in chunks
//! - [`threads`]: the pool that everything heavy runs in, without the lock of the interpreter
//! - [`accumulator`], [`state`], [`sealed`]: class means and scatter from batches, merged and saved
//! - [`metrics`]: the numbers of neural collapse from an accumulator
//! - [`model`], [`optimum`], [`predict`], [`groups`], [`vectors`], [`blocks`], [`limits`], [`descend`]: the theory and
//!   the descents
//! - [`measure`], [`given`], [`layers`], [`samples`]: a network compared with its optimum
//! - [`keywords`]: arguments as numbers, words and switches
//! - [`errors`], [`output`]: messages and results in Python's terms

mod accumulator;
mod arrays;
mod blocks;
mod descend;
mod errors;
mod given;
mod groups;
mod keywords;
mod labels;
mod layers;
mod limits;
mod matrices;
mod measure;
mod metrics;
mod model;
mod objects;
mod optimum;
mod output;
mod predict;
mod samples;
mod sealed;
mod state;
mod threads;
mod vectors;

use pyo3::prelude::*;

/// The native half of `ncollapse`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<accumulator::Accumulator>()?;
    module.add_class::<predict::Prediction>()?;
    module.add_class::<groups::Group>()?;
    module.add_function(wrap_pyfunction!(metrics::metrics, module)?)?;
    module.add_function(wrap_pyfunction!(measure::measure, module)?)?;
    module.add_function(wrap_pyfunction!(limits::limits, module)?)?;
    module.add_function(wrap_pyfunction!(descend::descend, module)?)?;
    module.add_function(wrap_pyfunction!(threads::set_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(threads::get_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(threads::_panic, module)?)?;
    module.add("InternalError", module.py().get_type::<threads::InternalError>())?;
    Ok(())
}
