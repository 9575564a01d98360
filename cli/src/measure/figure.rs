//! Gram matrices and singular values, as the theory has them and as they are.

use std::sync::Arc;

use kuva::{
    backend::svg::SvgBackend,
    plot::{ColorMap, Heatmap, LegendPosition, ScatterPlot},
    render::{figure::Figure, layout::Layout, plots::Plot},
};
use neural_collapse::faer::Mat;

use super::{
    measurement::{Measurement, SingularValues},
    network::Network,
};

/// Rows of a heat map beyond which neighbors are drawn as their mean.
const MOST_CELLS: usize = 64;
/// Rows of a heat map beyond which their names would run into each other.
const MOST_NAMES: usize = 26;

/// Predicted next to measured, for classifiers and class means, and the singular values below.
pub(crate) fn render(network: &Network, measurement: &Measurement) -> String {
    let order: Vec<usize> = network.counts.groups().flat_map(|group| group.classes.to_vec()).collect();
    let (measured, predicted) = (&measurement.classes, measurement.target.as_ref().map(|target| &target.classes));
    let mut panels = Vec::new();
    for (name, theirs, ours) in [
        ("classifiers", predicted.map(|predicted| &predicted.classifier_gram), &measured.classifier_gram),
        ("class means", predicted.map(|predicted| &predicted.mean_gram), &measured.mean_gram),
    ] {
        let (theirs, ours) = (theirs.map(|theirs| cells(theirs, &order)), cells(ours, &order));
        let range = range(theirs.iter().flatten().chain(&ours));
        if let Some(theirs) = theirs {
            panels.push(heat_map(&theirs, range, &order, &format!("{name}, predicted")));
        }
        panels.push(heat_map(&ours, range, &order, &format!("{name}, measured")));
    }
    let rows = panels.len() / 2 + 1;
    let all = measurement.singular_values.iter().take(2).enumerate();
    panels.extend(all.map(|(place, of)| {
        let predicted = measurement.target.as_ref().and_then(|target| target.singular_values.get(place));
        values(of, predicted.map_or(&[], |values| &values[..]))
    }));
    let (plots, layouts) = panels.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let figure = Figure::new(rows, 2).with_plots(plots).with_layouts(layouts).with_cell_size(420.0, 360.0);
    SvgBackend::default().render_scene(&figure.render())
}

/// A Gram matrix over its norm, in this order, as few enough cells.
fn cells(gram: &Mat<f64>, order: &[usize]) -> Vec<Vec<f64>> {
    let norm = gram.norm_l2();
    let scale = if norm > 0.0 { norm } else { 1.0 };
    let bins: Vec<&[usize]> = order.chunks(order.len().div_ceil(MOST_CELLS).max(1)).collect();
    let mean = |rows: &[usize], cols: &[usize]| {
        let entries = rows.iter().flat_map(|&i| cols.iter().map(move |&j| gram[(i, j)] / scale));
        entries.sum::<f64>() / (rows.len() * cols.len()) as f64
    };
    // Heat maps are drawn from the bottom.
    bins.iter().rev().map(|rows| bins.iter().map(|cols| mean(rows, cols)).collect()).collect()
}

fn range<'a>(rows: impl Iterator<Item = &'a Vec<f64>>) -> f64 {
    rows.flatten().fold(f64::MIN_POSITIVE, |most, entry| most.max(entry.abs()))
}

/// White is zero and the deepest color `most`, whatever this matrix has of them: both of a pair are to be compared.
fn heat_map(cells: &[Vec<f64>], most: f64, order: &[usize], title: &str) -> (Vec<Plot>, Layout) {
    let (least, largest) =
        cells.iter().flatten().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let color = move |part: f64| {
        let value = (least + part * (largest - least)) / most;
        let pale = |depth: f64, full: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let level = (255.0 - depth.clamp(0.0, 1.0) * (255.0 - full)).round() as u8;
            level
        };
        let depth = value.abs();
        let (r, g, b) = if value >= 0.0 { (33.0, 102.0, 172.0) } else { (178.0, 24.0, 43.0) };
        format!("#{:02x}{:02x}{:02x}", pale(depth, r), pale(depth, g), pale(depth, b))
    };
    let map = Heatmap::new().with_data(cells.to_vec()).with_color_map(ColorMap::Custom(Arc::new(color)));
    let plots = vec![Plot::Heatmap(map)];
    let name = |class: &usize| if order.len() <= MOST_NAMES { class.to_string() } else { String::new() };
    let names: Vec<String> = order.iter().take(cells.len()).map(name).collect();
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_x_label("classes by falling count")
        .with_y_categories(names.iter().rev().cloned().collect())
        .with_x_categories(names);
    (plots, layout)
}

fn values(values: &SingularValues, predicted: &[f64]) -> (Vec<Plot>, Layout) {
    let points = |values: &[f64]| values.iter().enumerate().map(|(k, &x)| (k as f64 + 1.0, x)).collect::<Vec<_>>();
    let predicted = ScatterPlot::new().with_data(points(predicted)).with_color("#bbbbbb").with_size(6.0);
    let measured = ScatterPlot::new().with_data(points(&values.values)).with_color("#2266aa").with_size(3.0);
    let plots =
        vec![Plot::Scatter(predicted.with_legend("predicted")), Plot::Scatter(measured.with_legend("measured"))];
    let step = (values.values.len() as f64 / 10.0).ceil();
    let layout = Layout::auto_from_plots(&plots)
        .with_y_axis_min(0.0)
        .with_x_tick_step(step)
        .with_title(format!("singular values: {}", values.block))
        .with_x_label("by falling value")
        .with_legend_position(LegendPosition::InsideTopRight);
    (plots, layout)
}
