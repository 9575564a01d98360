//! What kind of critical point a descent has come to, and the way down from a saddle.

mod difference;
mod ending;
mod escape;

pub use difference::{Difference, difference};
pub use ending::{Ending, ending};
pub use escape::{Escape, escape};
