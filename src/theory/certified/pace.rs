//! Two ways to the same minimizer.

/// How the path is followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// In half of the steps: the preconditioner knows the curvature of own classes, and says how near the middle of the
    /// path is. It can be wrong.
    Fast,
    /// By Newton's steps themselves, with a preconditioner that is a diagonal.
    Careful {
        /// The first μ, in units of that at which penalty and fit are equally curved.
        start: f64,
    },
}
