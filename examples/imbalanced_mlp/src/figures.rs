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
};

use crate::{
    groups::Group,
    history::{Row, write_whole},
    measure::{Measurement, Snapshot},
    target::Target,
};

const BLUE: &str = "#2266aa";
const RED: &str = "#cc3344";
const GREEN: &str = "#22aa66";
/// Of groups and of layers.
const COLORS: [&str; 6] = [BLUE, RED, GREEN, "#cc8844", "#8844aa", "#444444"];

/// The size of a panel.
const PANEL: (f64, f64) = (460.0, 360.0);

/// A line of a panel: its name, its color and what it shows of a measurement.
type Line = (&'static str, &'static str, fn(&Measurement) -> Option<f64>);

/// Writes the metrics of neural collapse, the gap, the accuracy, what tells the classes of each group apart and the
/// implied decays against epochs, a panel each.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn training(path: &Path, groups: &[Group], rows: &[Row]) -> Result<()> {
    let logarithmic: [(&str, &[Line]); 5] = [
        ("NC1: variability within classes", &[("", RED, |m| m.nc1)]),
        ("NC2: geometry", &[("classifiers", GREEN, |m| m.nc2_classifier), ("class means", BLUE, |m| m.nc2_features)]),
        ("NC3: prediction", &[("", RED, |m| m.nc3)]),
        ("alignment of classifiers and class means", &[("", RED, |m| m.alignment)]),
        ("objective above the minimum, relative", &[("", RED, |m| m.gap)]),
    ];
    let mut panels: Vec<_> = logarithmic.iter().map(|(title, lines)| logarithmic_panel(title, lines, rows)).collect();
    let accuracy: Vec<_> = rows.iter().map(|row| (row.epoch, row.measurement.accuracy)).collect();
    let plots = vec![line(&accuracy, RED, "")];
    let layout = Layout::auto_from_plots(&plots).with_title("training accuracy").with_x_label("epoch");
    panels.push((plots, layout.with_y_axis_min(0.0).with_y_axis_max(1.0)));
    panels.push(contrasts(groups, rows));
    panels.push(implied(rows));
    write(path, 2, 4, panels)
}

/// Writes the geometry of the last measurement next to that of the theory: inner products of classifiers and of class
/// means, and singular values.
///
/// # Errors
///
/// Where the file cannot be written or a decomposition does not converge.
pub fn geometry(path: &Path, target: &Target, snapshot: &Snapshot) -> Result<()> {
    let counts = target.ufm.class_counts().map_or_else(Vec::new, |classes| classes.counts().to_vec());
    let mut weighted = snapshot.means.clone();
    for (mut mean, count) in weighted.col_iter_mut().zip(counts) {
        mean *= Scale((count as f64).sqrt());
    }
    let rows: Mat<f64> = &snapshot.product * snapshot.product.transpose();
    let means: Mat<f64> = snapshot.means.transpose() * &snapshot.means;
    let ([classifiers, class_means], [products, features]) = (&target.grams, &target.singular_values);
    let mut panels = grams("classifiers", classifiers.as_ref(), rows.as_ref());
    panels.push(values("classifiers", products, snapshot.product.as_ref())?);
    panels.extend(grams("class means", class_means.as_ref(), means.as_ref()));
    panels.push(values("class means times √n", features, weighted.as_ref())?);
    write(path, 2, 3, panels)
}

/// p_own - p_sibling of every group, and what the law of contrasts says, dashed.
fn contrasts(groups: &[Group], rows: &[Row]) -> (Vec<Plot>, Layout) {
    let mut plots = Vec::new();
    for (g, (group, color)) in groups.iter().zip(COLORS.iter().cycle()).enumerate() {
        let points = |of: &dyn Fn(&Measurement) -> Option<f64>| {
            rows.iter().filter_map(|row| Some((row.epoch, of(&row.measurement)?))).collect::<Vec<_>>()
        };
        let (found, law) = (points(&|m| m.groups[g].contrast()), points(&|m| m.laws[g]));
        if !found.is_empty() {
            plots.push(line(&found, color, &format!("classes of {}", group.count)));
        }
        if !law.is_empty() {
            plots.push(Plot::Line(LinePlot::new().with_data(law).with_color(*color).with_dashed()));
        }
    }
    let layout = Layout::auto_from_plots(&plots)
        .with_title("own class minus sibling (law: dashed)")
        .with_x_label("epoch")
        .with_legend_position(LegendPosition::InsideBottomRight);
    (plots, layout)
}

/// The decays that the arrays imply, where they are positive.
fn implied(rows: &[Row]) -> (Vec<Plot>, Layout) {
    let blocks = rows.first().map_or(0, |row| row.measurement.implied.len());
    let mut plots = Vec::new();
    for (l, color) in (0..blocks).zip(COLORS.iter().cycle()) {
        let points = rows.iter().filter_map(|row| Some((row.epoch, row.measurement.implied[l]?.0)));
        let points: Vec<_> = points.filter(|&(_, decay)| decay > 0.0).map(|(x, y)| (x, y.log10())).collect();
        let name = if l + 1 == blocks { "features".into() } else { format!("layer {}", l + 1) };
        if !points.is_empty() {
            plots.push(line(&points, color, &name));
        }
    }
    let layout = Layout::auto_from_plots(&plots)
        .with_title("implied decays")
        .with_x_label("epoch")
        .with_y_tick_format(TickFormat::Custom(Arc::new(|exponent| format!("1e{exponent}"))))
        .with_legend_position(LegendPosition::InsideTopRight);
    (plots, layout)
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
fn grams(what: &str, predicted: MatRef<'_, f64>, measured: MatRef<'_, f64>) -> Vec<(Vec<Plot>, Layout)> {
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
fn values(what: &str, promised: &[f64], matrix: MatRef<'_, f64>) -> Result<(Vec<Plot>, Layout)> {
    let measured: Vec<f64> = dense_svd(matrix)?.values.iter().copied().collect();
    let numbered =
        |values: Vec<f64>| values.into_iter().enumerate().map(|(i, x)| ((i + 1) as f64, x)).collect::<Vec<_>>();
    let scatter = |values, color: &str, name: &str| {
        ScatterPlot::new().with_data(numbered(values)).with_color(color).with_legend(name)
    };
    // Pale, so that a cross inside is seen.
    let theory = scatter(promised.to_vec(), BLUE, "theory").with_size(6.0).with_marker_opacity(0.35);
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
