//! A line search for the strong Wolfe conditions, which takes a lower point if no length satisfies them.

use super::step::ROUNDING;

/// f(x + t d) ≤ f(x) + `SUFFICIENT` t <g, d> and |<∇f(x + t d), d>| ≤ `CURVATURE` |<g, d>|: the values of Nocedal and
/// Wright for quasi-Newton methods.
const SUFFICIENT: f64 = 1e-4;
const CURVATURE: f64 = 0.9;

/// Points that a line search looks at before it takes the lowest. Halving leads from the first one to the limit of
/// rounding, where the slope promises `ROUNDING` f, in log2(2/`ROUNDING`) = 49.
const TRIALS: usize = 64;

/// One look along the line: the length t, the objective there, and its slope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    pub(crate) length: f64,
    pub(crate) objective: f64,
    pub(crate) slope: f64,
}

/// A length that satisfies the strong Wolfe conditions, up to rounding of the objective: brackets, then narrows by
/// cubic interpolation (Nocedal, Wright 2006, algorithms 3.5 and 3.6). If none is found, one that lowers the objective
/// by more than its rounding; `None` if there is none of these either.
///
/// `start` is the trial of length 0, with a negative slope. The last trial that `look` is asked for is the one
/// returned.
pub(crate) fn search(start: Trial, mut look: impl FnMut(f64) -> Trial) -> Option<Trial> {
    let rounding = ROUNDING * start.objective;
    let too_high =
        |trial: &Trial| !(trial.objective <= start.objective + SUFFICIENT * trial.length * start.slope + rounding);
    let flat = |trial: &Trial| trial.slope.abs() <= CURVATURE * start.slope.abs();
    let (mut low, mut high) = (start, None);
    // Newton's step to a minimum f* has t = 2 (f - f*)/|<g, d>|, and no f* is negative: from a start that is far too
    // large the scale of the direction itself would be wrong by a hundred orders of magnitude.
    let mut length = (2.0 * start.objective / start.slope.abs()).min(1.0);
    for _ in 0..TRIALS {
        let trial = look(length);
        if too_high(&trial) || (low.length > 0.0 && trial.objective > low.objective + rounding) {
            high = Some(trial);
        } else if flat(&trial) {
            return Some(trial);
        } else {
            // Downhill beyond the trial, or back towards the other end of the bracket.
            let towards = high.map_or(1.0, |high: Trial| high.length - low.length);
            if trial.slope * towards >= 0.0 {
                high = Some(low);
            }
            low = trial;
        }
        length = match high {
            None => 4.0 * low.length,
            Some(high) => between(&low, &high),
        };
        if !length.is_finite() || length == low.length {
            break;
        }
    }
    (low.objective < start.objective - rounding).then(|| look(low.length))
}

/// The longest of the lengths t = 4 f/|<g, d>|, half of it, a quarter, .., down to where the slope promises no more
/// than rounding, that lowers the objective by more than its rounding; `None` if none of them does.
pub(crate) fn scan(start: Trial, mut look: impl FnMut(f64) -> Trial) -> Option<Trial> {
    let rounding = ROUNDING * start.objective;
    // Beyond the largest number halves would be infinite as well, and the slopes of starts of 1e-160 lead there.
    let longest = (4.0 * start.objective / start.slope.abs()).min(f64::MAX);
    let lengths = std::iter::successors(Some(longest), |length| Some(0.5 * length));
    lengths
        .take_while(|length| length * start.slope.abs() > rounding)
        .map(&mut look)
        .find(|trial| trial.objective < start.objective - rounding)
}

/// The minimum of the cubic through the values and slopes of two trials, kept away from their ends.
fn between(low: &Trial, high: &Trial) -> f64 {
    let width = high.length - low.length;
    let d1 = low.slope + high.slope - 3.0 * (high.objective - low.objective) / width;
    let d2 = (d1 * d1 - low.slope * high.slope).sqrt().copysign(width);
    let cubic = high.length - width * (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2);
    let share = (cubic - low.length) / width;
    // As long as every trial is too high, the bracket at least halves.
    let most = if low.length > 0.0 { 0.9 } else { 0.5 };
    // NaN, if there is no such cubic, takes the middle.
    low.length + width * if share.is_nan() { 0.5 } else { share.clamp(0.1, most) }
}
