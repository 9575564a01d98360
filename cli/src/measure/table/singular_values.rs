//! Singular values of every block.

use neural_collapse::metrics::Measurement;

use super::number;

/// Rows of singular values beyond which people stop reading.
const MOST_ROWS: usize = 40;

/// The end of the table: measured and predicted, block by block.
pub(super) fn singular_values(measurement: &Measurement) -> String {
    let all = &measurement.metrics.spectra;
    let predicted = measurement.target.as_ref().map(|target| &target.singular_values[..]).unwrap_or_default();
    let row = |cells: &mut dyn Iterator<Item = [String; 2]>| {
        let width = if predicted.is_empty() { 0 } else { 13 };
        let cells: Vec<_> = cells.map(|[left, right]| format!("{left:>13}{right:>width$}")).collect();
        cells.concat().trim_end().to_owned()
    };
    let has_predicted = !predicted.is_empty();
    let mut lines =
        vec![if has_predicted { "singular values, measured and predicted" } else { "singular values" }.into()];
    lines.push(row(&mut all.iter().map(|of| [of.block.clone(), String::new()])));
    let rows = all.iter().map(|of| of.values.len()).max().unwrap_or(0);
    for k in 0..rows.min(MOST_ROWS) {
        lines.push(row(&mut all.iter().enumerate().map(|(place, of)| {
            let predicted = predicted.get(place).and_then(|values| values.get(k)).copied();
            [number(of.values.get(k).copied()), predicted.map_or(String::new(), |value| number(Some(value)))]
        })));
    }
    if rows > MOST_ROWS {
        lines.push(format!("    ... {} more, all of them with --json", rows - MOST_ROWS));
    }
    lines.join("\n") + "\n"
}
