//! What a run has measured, as figures.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use kuva::{
    backend::svg::SvgBackend,
    plot::{ColorMap, Heatmap, LegendPosition, LinePlot, ScatterPlot, scatter::MarkerShape},
    render::{
        figure::Figure,
        layout::{Layout, TickFormat},
        plots::Plot,
    },
};
use neural_collapse::{
    faer::{Mat, MatRef, Scale},
    linalg::dense_svd,
    theory::{Direction, Gram, Minimizer},
};

use crate::{
    history::{Row, write_whole},
    measure::{Measurement, Snapshot},
};

const BLUE: &str = "#2266aa";
const RED: &str = "#cc3344";
const GREEN: &str = "#22aa66";

/// The size of a panel.
const PANEL: (f64, f64) = (460.0, 360.0);

/// A line of a panel: its name, its color and what it shows of a measurement.
type Line = (&'static str, &'static str, fn(&Measurement) -> Option<f64>);

/// Writes the metrics of neural collapse, the gap and the accuracy against epochs, a panel each.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn training(path: &Path, rows: &[Row]) -> Result<()> {
    let logarithmic: [(&str, &[Line]); 5] = [
        ("NC1: variability within classes", &[("", RED, |m| m.nc1)]),
        ("NC2: geometry", &[("classifiers", GREEN, |m| m.nc2_classifier), ("class means", BLUE, |m| m.nc2_features)]),
        ("NC3: prediction", &[("", RED, |m| m.nc3)]),
        ("alignment of classifiers and class means", &[("", RED, |m| m.alignment)]),
        ("objective above the minimum, relative", &[("", RED, |m| Some(m.gap))]),
    ];
    let mut panels: Vec<_> = logarithmic.iter().map(|(title, lines)| logarithmic_panel(title, lines, rows)).collect();
    let accuracy: Vec<_> = rows.iter().map(|row| (row.epoch, row.measurement.accuracy)).collect();
    let plots = vec![line(&accuracy, RED, "")];
    let layout = Layout::auto_from_plots(&plots).with_title("training accuracy").with_x_label("epoch");
    panels.push((plots, layout.with_y_axis_min(0.0).with_y_axis_max(1.0)));
    write(path, 2, 3, panels)
}

/// Writes the geometry of the last measurement next to that of the theory: inner products of classifiers and of class
/// means, and singular values.
///
/// # Errors
///
/// Where the file cannot be written or a decomposition does not converge.
pub fn geometry(path: &Path, minimizer: &Minimizer, snapshot: &Snapshot) -> Result<()> {
    let geometry = minimizer.geometry()?;
    let counts = geometry_counts(minimizer);
    let mut weighted = snapshot.means.clone();
    for (mut mean, count) in weighted.col_iter_mut().zip(counts) {
        mean *= Scale((count as f64).sqrt());
    }
    let rows: Mat<f64> = &snapshot.product * snapshot.product.transpose();
    let means: Mat<f64> = snapshot.means.transpose() * &snapshot.means;
    let mut panels = grams("classifiers", geometry.classifiers(), rows.as_ref());
    panels.push(values("classifiers", minimizer, |direction| direction.product, snapshot.product.as_ref())?);
    panels.extend(grams("class means", geometry.class_means(), means.as_ref()));
    panels.push(values("class means times √n", minimizer, |direction| direction.feature, weighted.as_ref())?);
    write(path, 2, 3, panels)
}

fn geometry_counts(minimizer: &Minimizer) -> Vec<u64> {
    minimizer.ufm().class_counts().map_or_else(Vec::new, |classes| classes.counts().to_vec())
}

fn logarithmic_panel(title: &str, lines: &[Line], rows: &[Row]) -> (Vec<Plot>, Layout) {
    // Logarithms made here: kuva's own axis ends at 1e-10. What is not positive has none.
    let points = |of: &dyn Fn(&Measurement) -> Option<f64>| {
        let points = rows.iter().filter_map(|row| Some((row.epoch, of(&row.measurement)?)));
        points.filter(|&(_, y)| y > 0.0).map(|(x, y)| (x, y.log10())).collect::<Vec<_>>()
    };
    let points: Vec<Vec<(f64, f64)>> = lines.iter().map(|(_, _, of)| points(of)).collect();
    let exponents = || points.iter().flatten().map(|point| point.1);
    let (low, high) = (exponents().fold(f64::INFINITY, f64::min), exponents().fold(f64::NEG_INFINITY, f64::max));
    let plots: Vec<_> = points.iter().zip(lines).map(|(points, (name, color, _))| line(points, color, name)).collect();
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_x_label("epoch")
        .with_y_tick_format(TickFormat::Custom(Arc::new(|exponent| format!("1e{exponent}"))))
        .with_legend_position(LegendPosition::InsideTopRight);
    if low > high {
        return (plots, layout);
    }
    // Whole powers of ten, at most eight of them with a number.
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let step = ((high - low) / 8.0).ceil();
    let layout = layout.with_y_axis_min(low).with_y_axis_max(high).with_y_tick_step(step);
    (plots, layout)
}

fn line(points: &[(f64, f64)], color: &str, name: &str) -> Plot {
    let line = LinePlot::new().with_data(points.iter().copied()).with_color(color);
    Plot::Line(if name.is_empty() { line } else { line.with_legend(name) })
}

/// Inner products of all pairs of classes, predicted and measured, in the same colors.
fn grams(what: &str, predicted: &Gram, measured: MatRef<'_, f64>) -> Vec<(Vec<Plot>, Layout)> {
    let classes = measured.nrows();
    let table = |entry: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
        (0..classes).map(|k| (0..classes).map(|l| entry(k, l)).collect()).collect()
    };
    // Where a tie leaves open what the theory says, nothing is shown.
    let predicted = table(&|k, l| predicted.inner_product(k, l).unwrap_or(0.0));
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
    vec![panel(format!("{what}: theory"), predicted), panel(format!("{what}: network"), measured)]
}

/// White at zero, blue below and red above, darkest at ± `largest`: kuva gives the place of a number between the
/// smallest and the largest of its own table.
fn colors(table: &[Vec<f64>], largest: f64) -> ColorMap {
    let low = table.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let high = table.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let half = if largest > 0.0 { 2.0 * largest } else { 1.0 };
    ColorMap::Custom(Arc::new(move |t| ColorMap::RedBlue.map(0.5 - (low + t * (high - low)) / half)))
}

/// Singular values by falling size: circles for the theory, crosses for the network.
fn values(
    what: &str,
    minimizer: &Minimizer,
    promised: impl Fn(&Direction) -> f64,
    matrix: MatRef<'_, f64>,
) -> Result<(Vec<Plot>, Layout)> {
    let mut promised = minimizer.singular_values(promised);
    promised.sort_by(|a, b| b.total_cmp(a));
    let measured: Vec<f64> = dense_svd(matrix)?.values.iter().copied().collect();
    let numbered =
        |values: Vec<f64>| values.into_iter().enumerate().map(|(i, x)| ((i + 1) as f64, x)).collect::<Vec<_>>();
    let scatter = |values, color: &str, name: &str| {
        ScatterPlot::new().with_data(numbered(values)).with_color(color).with_legend(name)
    };
    // Pale, so that a cross inside is seen.
    let theory = scatter(promised, BLUE, "theory").with_size(6.0).with_marker_opacity(0.35);
    let network = scatter(measured, RED, "network").with_marker(MarkerShape::Cross).with_size(4.0);
    let plots = vec![Plot::Scatter(theory), Plot::Scatter(network)];
    let layout = Layout::auto_from_plots(&plots)
        .with_title(format!("singular values of {what}"))
        .with_x_label("index")
        .with_y_axis_min(0.0)
        .with_legend_position(LegendPosition::InsideBottomLeft);
    Ok((plots, layout))
}

fn write(path: &Path, rows: usize, cols: usize, panels: Vec<(Vec<Plot>, Layout)>) -> Result<()> {
    let (plots, layouts) = panels.into_iter().unzip();
    let figure = Figure::new(rows, cols).with_plots(plots).with_layouts(layouts).with_cell_size(PANEL.0, PANEL.1);
    write_whole(path, SvgBackend::default().render_scene(&figure.render()).as_bytes())
}
