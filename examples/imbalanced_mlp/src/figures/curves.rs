//! Panels against epochs, of one run or of several that differ by their seed.

use std::sync::Arc;

use kuva::{
    plot::{LegendPosition, LinePlot},
    render::{
        layout::{Layout, TickFormat},
        plots::Plot,
    },
};

use super::{BLUE, COLORS, Panel, RED};
use crate::{groups::Group, history::Row, measure::Measurement};

/// A line of a panel: its name, its color and what it shows of a measurement.
pub(crate) type Line = (&'static str, &'static str, fn(&Measurement) -> Option<f64>);

/// Where the axis of contrasts begins.
const LOWEST_CONTRAST: f64 = -0.03;

/// Numbers of all runs on a logarithmic axis.
pub(crate) fn logarithmic(title: &str, lines: &[Line], runs: &[&[Row]]) -> Panel {
    let curves = lines.iter().flat_map(|&(name, color, of)| curves(name, color, runs, of));
    on_logarithmic_axis(title, &curves.collect::<Vec<_>>())
}

/// The objectives of all runs, from where they come close to the interval that has the minimum; its ends, dashed.
pub(crate) fn objectives(title: &str, [lower, upper]: [f64; 2], runs: &[&[Row]]) -> Panel {
    let highest = upper + 2.0 * (upper - lower);
    let objectives = curves("", RED, runs, |m| (m.objective <= highest).then_some(m.objective));
    let mut plots: Vec<_> = objectives.into_iter().map(|(points, name, color)| line(points, color, &name)).collect();
    let last = runs.iter().filter_map(|rows| rows.last()).map(|row| row.epoch).fold(0.0, f64::max);
    for bound in [lower, upper] {
        let ends = vec![(0.0, bound), (last, bound)];
        plots.push(Plot::Line(LinePlot::new().with_data(ends).with_color(BLUE).with_dashed()));
    }
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_x_label("epoch")
        .with_y_axis_min(lower - 0.5 * (upper - lower))
        .with_y_axis_max(highest)
        .with_y_tick_format(TickFormat::Custom(Arc::new(|objective| format!("{objective:.3e}"))));
    (plots, layout)
}

/// The accuracy of a run.
pub(crate) fn accuracy(rows: &[Row]) -> Panel {
    let points: Vec<_> = rows.iter().map(|row| (row.epoch, row.measurement.accuracy)).collect();
    let plots = vec![line(points, RED, "")];
    let layout = Layout::auto_from_plots(&plots).with_title("training accuracy").with_x_label("epoch");
    (plots, layout.with_y_axis_min(0.0).with_y_axis_max(1.0))
}

/// p_own - p_sibling of every group, and what the law of contrasts says, dashed.
pub(crate) fn contrasts(title: &str, groups: &[Group], runs: &[&[Row]]) -> Panel {
    let mut plots = Vec::new();
    for (g, (group, color)) in groups.iter().zip(COLORS.iter().cycle()).enumerate() {
        let name = format!("classes of {}", group.count);
        for (points, name, color) in curves(&name, color, runs, move |m| m.groups[g].contrast()) {
            plots.push(line(points, color, &name));
        }
        let law = runs.first().into_iter().flat_map(|rows| rows.iter());
        let law: Vec<_> = law.filter_map(|row| Some((row.epoch, row.measurement.laws[g]?))).collect();
        if !law.is_empty() {
            plots.push(Plot::Line(LinePlot::new().with_data(law).with_color(*color).with_dashed()));
        }
    }
    // Contrasts of a network that is not trained yet are close to zero, on both sides. A law of zero is drawn on the line
    // of zero, which the axis would hide.
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_x_label("epoch")
        .with_y_axis_min(LOWEST_CONTRAST)
        .with_legend_position(LegendPosition::OutsideRightMiddle);
    (plots, layout)
}

/// The decays that the arrays imply, where they are positive.
pub(crate) fn implied(title: &str, runs: &[&[Row]]) -> Panel {
    on_logarithmic_axis(title, &blocks(runs, |(decay, _)| decay))
}

/// How far the arrays are from being at rest with them.
pub(crate) fn misfits(title: &str, runs: &[&[Row]]) -> Panel {
    on_logarithmic_axis(title, &blocks(runs, |(_, misfit)| misfit))
}

/// A curve for each layer and the features of every run.
fn blocks(runs: &[&[Row]], of: impl Fn((f64, f64)) -> f64 + Copy) -> Vec<Curve<'static>> {
    let blocks = runs.first().and_then(|rows| rows.first()).map_or(0, |row| row.measurement.implied.len());
    let names = (0..blocks).zip(COLORS.iter().cycle());
    let curves = names.flat_map(|(l, color)| {
        let name = if l + 1 == blocks { "features".into() } else { format!("layer {}", l + 1) };
        curves(&name, color, runs, move |m| m.implied[l].map(of))
    });
    curves.collect()
}

/// Points, a name for the legend, and a color.
type Curve<'a> = (Vec<(f64, f64)>, String, &'a str);

/// One curve for each run that has points, all of one color; the first one has the name.
fn curves<'a>(
    name: &str,
    color: &'a str,
    runs: &[&[Row]],
    of: impl Fn(&Measurement) -> Option<f64> + Copy,
) -> Vec<Curve<'a>> {
    let points =
        |rows: &&[Row]| -> Vec<_> { rows.iter().filter_map(|row| Some((row.epoch, of(&row.measurement)?))).collect() };
    let all = runs.iter().map(points).filter(|points| !points.is_empty()).enumerate();
    all.map(|(i, points)| (points, if i == 0 { name.to_owned() } else { String::new() }, color)).collect()
}

/// Logarithms made here: kuva's own axis ends at 1e-10. What is not positive has none: the curve is broken there.
fn on_logarithmic_axis(title: &str, curves: &[Curve<'_>]) -> Panel {
    let curves: Vec<_> = curves
        .iter()
        .flat_map(|(points, name, color)| {
            let positive = points.split(|&(_, y)| !(y > 0.0)).filter(|piece| !piece.is_empty());
            positive.enumerate().map(move |(i, piece)| {
                let logarithms: Vec<_> = piece.iter().map(|&(x, y)| (x, y.log10())).collect();
                (logarithms, if i == 0 { name.clone() } else { String::new() }, *color)
            })
        })
        .collect();
    let exponents = || curves.iter().flat_map(|(points, ..)| points).map(|point| point.1);
    let (low, high) = (exponents().fold(f64::INFINITY, f64::min), exponents().fold(f64::NEG_INFINITY, f64::max));
    let plots: Vec<_> = curves.into_iter().map(|(points, name, color)| line(points, color, &name)).collect();
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_x_label("epoch")
        .with_y_tick_format(TickFormat::Custom(Arc::new(|exponent| format!("1e{exponent}"))))
        .with_legend_position(LegendPosition::OutsideRightTop);
    if low > high {
        return (plots, layout);
    }
    // Whole powers of ten, at most eight of them with a number.
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let step = ((high - low) / 8.0).ceil();
    let layout = layout.with_y_axis_min(low).with_y_axis_max(high).with_y_tick_step(step);
    (plots, layout)
}

fn line(points: Vec<(f64, f64)>, color: &str, name: &str) -> Plot {
    let line = LinePlot::new().with_data(points).with_color(color);
    Plot::Line(if name.is_empty() { line } else { line.with_legend(name) })
}
