//! What a run has measured, as figures.

mod curves;
mod matrices;

use std::path::Path;

use anyhow::Result;
use kuva::{
    backend::svg::SvgBackend,
    render::{figure::Figure, layout::Layout, plots::Plot},
};
use neural_collapse::faer::{Mat, Scale};

pub(crate) use self::{
    curves::{Line, accuracy, contrasts, implied, logarithmic, misfits, objectives},
    matrices::{grams, values},
};
use crate::{
    groups::Group,
    history::{Row, write_whole},
    measure::Snapshot,
    target::{Source, Target},
};

pub(crate) const BLUE: &str = "#2266aa";
pub(crate) const RED: &str = "#cc3344";
pub(crate) const GREEN: &str = "#22aa66";
/// Of groups and of layers.
const COLORS: [&str; 6] = [BLUE, RED, GREEN, "#cc8844", "#8844aa", "#444444"];

/// The size of a panel.
const SIZE: (f64, f64) = (460.0, 360.0);

/// A part of a figure.
pub(crate) type Panel = (Vec<Plot>, Layout);

/// The gap against epochs.
pub(crate) const GAP: (&str, &[Line]) = ("objective above the minimum, relative", &[("", RED, |m| m.gap)]);

/// The distance of Gram matrices from those of the theory against epochs.
pub(crate) const NC2: (&str, &[Line]) =
    ("NC2: geometry", &[("classifiers", GREEN, |m| m.nc2_classifier), ("class means", BLUE, |m| m.nc2_features)]);

/// Writes the metrics of neural collapse, the gap, the accuracy, what tells the classes of each group apart and the
/// implied decays against epochs, a panel each.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn training(path: &Path, groups: &[Group], rows: &[Row]) -> Result<()> {
    let metrics: [(&str, &[Line]); 5] = [
        ("NC1: variability within classes", &[("", RED, |m| m.nc1)]),
        NC2,
        ("NC3: prediction", &[("", RED, |m| m.nc3)]),
        ("alignment of classifiers and class means", &[("", RED, |m| m.alignment)]),
        GAP,
    ];
    let mut panels: Vec<_> = metrics.iter().map(|(title, lines)| logarithmic(title, lines, &[rows])).collect();
    panels.push(accuracy(rows));
    panels.push(contrasts("own class minus sibling (law: dashed)", groups, &[rows]));
    panels.push(implied("implied decays", &[rows]));
    // Alignment needs a closed form, and the law two classes of a size.
    panels.retain(|(plots, _)| !plots.is_empty());
    write(path, 4, panels)
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
    let [products, features] = &target.singular_values;
    let [classifiers, class_means] = inner_products("", target, snapshot);
    let mut panels = classifiers;
    panels.push(values(["classifiers", source(target)], products, snapshot.product.as_ref())?);
    panels.extend(class_means);
    panels.push(values(["class means times √n", source(target)], features, weighted.as_ref())?);
    write(path, 3, panels)
}

/// Inner products of classifiers and of class means, of the theory and of the network: two panels each, whose titles
/// begin with the name of the network.
pub(crate) fn inner_products(name: &str, target: &Target, snapshot: &Snapshot) -> [Vec<Panel>; 2] {
    let rows: Mat<f64> = &snapshot.product * snapshot.product.transpose();
    let means: Mat<f64> = snapshot.means.transpose() * &snapshot.means;
    let [classifiers, class_means] = &target.grams;
    let source = source(target);
    [
        grams([&format!("{name}classifiers"), source], classifiers.as_ref(), rows.as_ref()),
        grams([&format!("{name}class means"), source], class_means.as_ref(), means.as_ref()),
    ]
}

/// What figures call that which a network is compared with.
fn source(target: &Target) -> &'static str {
    if matches!(target.source, Source::Descent { .. }) { "descent" } else { "theory" }
}

/// Writes panels by rows of so many.
///
/// # Errors
///
/// Where the file cannot be written.
pub(crate) fn write(path: &Path, columns: usize, panels: Vec<Panel>) -> Result<()> {
    let rows = panels.len().div_ceil(columns);
    let (plots, layouts) = panels.into_iter().unzip();
    let figure = Figure::new(rows, columns).with_plots(plots).with_layouts(layouts).with_cell_size(SIZE.0, SIZE.1);
    write_whole(path, SvgBackend::default().render_scene(&figure.render()).as_bytes())
}
