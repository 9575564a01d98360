//! How a minimum is known.

/// Where the minimum comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// A closed form.
    Closed,
    /// Convex optimization with a proof: the objective is at most this share above what no point is below.
    Certified {
        /// That share.
        gap: f64,
    },
    /// The best point with orthogonal class means, for features that are not negative.
    Orthogonal {
        /// What no point is below.
        lower_bound: f64,
        /// Whether it is the minimum.
        is_proved: bool,
    },
    /// The lowest of several descents: not proved to be the minimum.
    Descent {
        /// How many.
        starts: usize,
        /// How many of them have ended there.
        same: usize,
    },
}
