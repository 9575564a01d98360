//! Panels of matrices and of their singular values, of the theory and of a network.

use std::sync::Arc;

use anyhow::Result;
use kuva::{
    plot::{ColorMap, Heatmap, LegendPosition, ScatterPlot, scatter::MarkerShape},
    render::{layout::Layout, plots::Plot},
};
use neural_collapse::{faer::MatRef, linalg::dense_svd};

use super::{BLUE, Panel, RED};

/// Inner products of all pairs of classes, predicted by this source and measured, in the same colors.
pub(crate) fn grams([what, source]: [&str; 2], predicted: MatRef<'_, f64>, measured: MatRef<'_, f64>) -> Vec<Panel> {
    let classes = measured.nrows();
    let table = |entry: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
        (0..classes).map(|k| (0..classes).map(|l| entry(k, l)).collect()).collect()
    };
    let predicted = table(&|k, l| predicted[(k, l)]);
    let measured = table(&|k, l| measured[(k, l)]);
    let largest = predicted.iter().chain(&measured).flatten().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let panel = |title: String, table: Vec<Vec<f64>>| {
        let heatmap = Heatmap::new().with_color_map(colors(&table, largest)).with_cell_size(1.0);
        // kuva draws the first row at the bottom; that of class 0 belongs to the top, as in a matrix.
        let heatmap = heatmap.with_data(table.into_iter().rev());
        let plots = vec![Plot::Heatmap(heatmap)];
        let names: Vec<String> =
            (0..classes).map(|k| if classes <= 12 || k % 5 == 0 { k.to_string() } else { String::new() }).collect();
        let layout = Layout::auto_from_plots(&plots)
            .with_title(title)
            .with_x_label("class")
            .with_y_label("class")
            .with_x_categories(names.clone())
            .with_y_categories(names.into_iter().rev().collect());
        (plots, layout)
    };
    vec![panel(format!("{what}: {source}"), predicted), panel(format!("{what}: network"), measured)]
}

/// White at zero, blue below and red above, darkest at ± `largest`: kuva gives the place of a number between the
/// smallest and the largest of its own table.
fn colors(table: &[Vec<f64>], largest: f64) -> ColorMap {
    let low = table.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let high = table.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let half = if largest > 0.0 { 2.0 * largest } else { 1.0 };
    ColorMap::Custom(Arc::new(move |t| ColorMap::RedBlue.map(0.5 - (low + t * (high - low)) / half)))
}

/// Singular values by falling size: circles for those predicted by this source, crosses for the network.
pub(crate) fn values([what, source]: [&str; 2], promised: &[f64], matrix: MatRef<'_, f64>) -> Result<Panel> {
    let measured: Vec<f64> = dense_svd(matrix)?.values.iter().copied().collect();
    let numbered =
        |values: Vec<f64>| values.into_iter().enumerate().map(|(i, x)| ((i + 1) as f64, x)).collect::<Vec<_>>();
    let scatter = |values, color: &str, name: &str| {
        ScatterPlot::new().with_data(numbered(values)).with_color(color).with_legend(name)
    };
    // Pale, so that a cross inside is seen.
    let theory = scatter(promised.to_vec(), BLUE, source).with_size(6.0).with_marker_opacity(0.35);
    let network = scatter(measured, RED, "network").with_marker(MarkerShape::Cross).with_size(4.0);
    let plots = vec![Plot::Scatter(theory), Plot::Scatter(network)];
    let layout = Layout::auto_from_plots(&plots)
        .with_title(format!("singular values of {what}"))
        .with_x_label("index")
        .with_y_axis_min(0.0)
        .with_legend_position(LegendPosition::InsideBottomLeft);
    Ok((plots, layout))
}
