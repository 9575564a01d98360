//! What a pass computes in which order: the layer that it goes through, and how columns are shared out.

use crate::model::Ufm;

/// Numbers in a panel of features: three panels, of the point, of the one before and of the next, stay in the
/// second-level cache while all products and the step use them (measured: 64 to 96 columns of 512 numbers are best).
const PANEL: usize = 96 * 512;
/// Columns of a panel, however wide or narrow the features are.
const PANEL_COLUMNS: (usize, usize) = (16, 192);
/// At most this number of parts, one for each core; each has a d_1 × K sum of its own.
const MAX_PARTS: usize = 16;
/// Fewer columns than this are not worth a part of their own.
const MIN_PART: usize = 64;

/// The plan of all passes over one set of columns. It depends on the model and on the number of columns alone, never on
/// the number of threads: that is what makes sums the same, bit for bit, for any number of threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The layer that the pass goes through, from 0; `None` if it takes W_{L:1} at once.
    pub(crate) waist: Option<usize>,
    /// The width there; the number of outputs if there is no waist.
    pub(crate) middle: usize,
    /// Columns of a part: what one core sums up in order. The last part may have fewer.
    pub(crate) part: usize,
    /// Columns of a panel: what stays in the cache of that core. The last panel may have fewer.
    pub(crate) panel: usize,
}

impl Plan {
    pub(crate) fn new(ufm: &Ufm, columns: usize) -> Self {
        let (outputs, width) = (ufm.outputs(), ufm.feature_width());
        // The narrowest layer after the first, if two factors through it have fewer entries than their product.
        let waist = (1..ufm.depth())
            .min_by_key(|&l| ufm.layers()[l].width)
            .filter(|&l| ufm.layers()[l].width.saturating_mul(outputs + width) < outputs.saturating_mul(width));
        let part = columns.div_ceil(parts(columns)).max(1);
        let most = (PANEL / width).clamp(PANEL_COLUMNS.0, PANEL_COLUMNS.1);
        // Panels of equal size: a last panel of few columns would run far below the speed of the others.
        let panel = part.div_ceil(part.div_ceil(most));
        Self { waist, middle: waist.map_or(outputs, |l| ufm.layers()[l].width), part, panel }
    }
}

/// The number of parts: a power of two, so that any number of cores that is one has the same work each.
fn parts(columns: usize) -> usize {
    let parts = (columns / MIN_PART).clamp(1, MAX_PARTS).next_power_of_two();
    let too_many = parts > MAX_PARTS || parts * MIN_PART > columns.max(MIN_PART);
    if too_many { parts / 2 } else { parts }
}
