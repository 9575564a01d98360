//! What kind of critical point a descent has come to, and the way down from a saddle.

mod ending;
mod escape;

pub use ending::{Difference, Ending, difference, ending};
pub use escape::{Escape, escape};
