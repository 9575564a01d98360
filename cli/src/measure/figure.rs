//! Gram matrices and singular values, as the theory has them and as they are, with the difference.

use std::sync::Arc;

use kuva::{
    backend::svg::SvgBackend,
    plot::{ColorMap, Heatmap, LegendPosition, ScatterPlot},
    render::{figure::Figure, layout::Layout, plots::Plot},
};
use neural_collapse::{
    faer::Mat,
    metrics::{BlockSpectrum, ClassGeometry, Measurement},
};

use super::table::loss_name;

/// Rows of a heat map beyond which neighbors are drawn as their mean.
const MOST_CELLS: usize = 64;
/// Digits of the names along a side beyond which they would run into each other.
const MOST_DIGITS: usize = 26;
/// Panels of a row.
const COLUMNS: usize = 3;

type Panel = (Vec<Plot>, Layout);

/// A row for classifiers and one for class means: predicted, measured, and their difference; below them the singular
/// values of every block. Without a prediction, what was measured alone.
pub(crate) fn render(measurement: &Measurement) -> String {
    let order: Vec<usize> = measurement.counts.groups().flat_map(|group| group.classes.to_vec()).collect();
    let (measured, predicted) =
        (&measurement.metrics.classes, measurement.target.as_ref().map(|target| &target.classes));
    let mut panels = Vec::new();
    for (name, theirs, ours) in [
        ("classifiers", predicted.map(ClassGeometry::classifier_gram), measured.classifier_gram()),
        ("class means", predicted.map(ClassGeometry::mean_gram), measured.mean_gram()),
    ] {
        let ours = cells(&ours, &order);
        let Some(theirs) = theirs.map(|theirs| cells(&theirs, &order)) else {
            panels.push(heat_map(&ours, most(&ours), &order, &format!("{name}, measured")));
            continue;
        };
        let range = most(&theirs).max(most(&ours));
        panels.push(heat_map(&theirs, range, &order, &format!("{name}, predicted")));
        panels.push(heat_map(&ours, range, &order, &format!("{name}, measured")));
        let rows = ours.iter().zip(&theirs);
        let difference: Vec<Vec<f64>> =
            rows.map(|(ours, theirs)| ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs).collect()).collect();
        let largest = most(&difference);
        let title = format!("{name}, difference: at most {largest:.1e} of {range:.1e}");
        // On a scale of its own: on that of the others a good network has nothing to see.
        panels.push(heat_map(&difference, largest, &order, &title));
    }
    let all = measurement.metrics.spectra.iter().enumerate();
    panels.extend(all.map(|(place, of)| {
        let predicted = measurement.target.as_ref().and_then(|target| target.singular_values.get(place));
        values(of, predicted.map_or(&[], |values| &values[..]))
    }));
    let rows = panels.len().div_ceil(COLUMNS);
    let (plots, layouts) = panels.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let figure = Figure::new(rows, COLUMNS).with_plots(plots).with_layouts(layouts).with_cell_size(420.0, 380.0);
    SvgBackend::default().render_scene(&figure.with_title(title(measurement)).with_title_size(15).render())
}

/// What was compared with what, and how far apart they are.
fn title(measurement: &Measurement) -> String {
    let counts = measurement.counts.to_string();
    let classes = measurement.counts.classes();
    let mut parts =
        vec![if counts.len() > 40 { format!("{classes} classes") } else { format!("{classes} classes: {counts}") }];
    if let Some(model) = measurement.question.model.as_ref().filter(|_| measurement.target.is_some()) {
        let decays: Vec<String> = model.layers().iter().map(|layer| format!("{:.3e}", layer.decay)).collect();
        let layers = if decays.len() == 1 { "layer" } else { "layers" };
        parts.push(format!(
            "{}, decays {layers} {}, features {:.3e} (theory's units)",
            loss_name(model.loss()),
            decays.join(" "),
            model.feature_decay()
        ));
    }
    let gap = measurement.target.as_ref().and_then(|target| target.gap);
    parts.extend(gap.map(|gap| format!("relative gap {gap:.1e}")));
    let verdict = match measurement.has_reached() {
        Some(true) => "optimum reached",
        Some(false) => "optimum not reached",
        None if measurement.applies() => "the theory applies",
        None => "no verdict",
    };
    parts.push(verdict.into());
    parts.join("; ")
}

/// A Gram matrix over its norm, in this order, as few enough cells.
fn cells(gram: &Mat<f64>, order: &[usize]) -> Vec<Vec<f64>> {
    let norm = gram.norm_l2();
    let scale = if norm > 0.0 { norm } else { 1.0 };
    let bins = bins(order);
    let mean = |rows: &[usize], cols: &[usize]| {
        let entries = rows.iter().flat_map(|&i| cols.iter().map(move |&j| gram[(i, j)] / scale));
        entries.sum::<f64>() / (rows.len() * cols.len()) as f64
    };
    // Heat maps are drawn from the bottom.
    bins.iter().rev().map(|rows| bins.iter().map(|cols| mean(rows, cols)).collect()).collect()
}

/// The classes of every row.
fn bins(order: &[usize]) -> Vec<&[usize]> {
    order.chunks(binned(order)).collect()
}

/// Classes of a row.
fn binned(order: &[usize]) -> usize {
    order.len().div_ceil(MOST_CELLS).max(1)
}

fn most(cells: &[Vec<f64>]) -> f64 {
    cells.iter().flatten().fold(f64::MIN_POSITIVE, |most, entry| most.max(entry.abs()))
}

/// White is zero and the deepest color `most`, whatever this matrix has of them: both of a pair are to be compared.
fn heat_map(cells: &[Vec<f64>], most: f64, order: &[usize], title: &str) -> Panel {
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
    // Every class has a cell, every few of them a name: that of the first class of the cell.
    let bins = bins(order);
    let digits = order.len().saturating_sub(1).to_string().len();
    let step = bins.len().div_ceil(MOST_DIGITS / digits.min(MOST_DIGITS));
    let name = |(place, bin): (usize, &&[usize])| {
        if place.is_multiple_of(step) { bin[0].to_string() } else { String::new() }
    };
    let names: Vec<String> = bins.iter().enumerate().map(name).collect();
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_title_size(13)
        .with_x_label(match binned(order) {
            1 => "classes by falling count".into(),
            size => format!("classes by falling count; each cell is the mean of {size} x {size}"),
        })
        .with_y_categories(names.iter().rev().cloned().collect())
        .with_x_categories(names);
    (plots, layout)
}

fn values(values: &BlockSpectrum, predicted: &[f64]) -> Panel {
    let points = |values: &[f64]| values.iter().enumerate().map(|(k, &x)| (k as f64 + 1.0, x)).collect::<Vec<_>>();
    let measured = ScatterPlot::new().with_data(points(&values.values)).with_color("#2266aa").with_size(3.0);
    let mut plots = Vec::new();
    if !predicted.is_empty() {
        let predicted = ScatterPlot::new().with_data(points(predicted)).with_color("#bbbbbb").with_size(6.0);
        plots.push(Plot::Scatter(predicted.with_legend("predicted")));
    }
    plots.push(Plot::Scatter(measured.with_legend("measured")));
    let step = (values.values.len() as f64 / 10.0).ceil();
    let layout = Layout::auto_from_plots(&plots)
        .with_y_axis_min(0.0)
        .with_x_tick_step(step)
        .with_title(format!("singular values: {}", values.block))
        .with_title_size(13)
        .with_x_label("by falling value")
        .with_legend_position(LegendPosition::InsideTopRight);
    (plots, layout)
}
