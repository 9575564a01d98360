//! A run as a figure.

use std::{path::Path, sync::Arc};

use kuva::{
    plot::{LegendPosition, LinePlot},
    render::{
        layout::{Layout, TickFormat},
        plots::Plot,
    },
};
use neural_collapse::descent::Record;

use super::report::{Report, thinned};
use crate::shared::svg_file;

/// Everything that a run reports, by step, written to a temporary file and renamed.
pub(crate) fn plot(report: &Report, path: &Path) -> Result<(), String> {
    let line = |points: Vec<(f64, f64)>, color: &str, legend: &str| {
        // Logarithms made here: kuva's own axis ends at 1e-10. Below 1e-16 is rounding, or zero.
        let points: Vec<_> =
            points.into_iter().filter(|(_, y)| *y >= 1e-16 && y.is_finite()).map(|(x, y)| (x, y.log10())).collect();
        Plot::Line(LinePlot::new().with_data(points).with_color(color).with_legend(legend))
    };
    let records = thinned(&report.run.trajectory);
    let of = |value: &dyn Fn(&Record) -> f64| {
        records.iter().map(|record| (record.step as f64, value(record))).collect::<Vec<_>>()
    };
    let mut plots = vec![
        match report.goal.objective() {
            Some(optimum) => {
                let scale = if optimum > 0.0 { optimum } else { 1.0 };
                line(of(&|record| (record.objective - optimum) / scale), "#2266aa", "relative gap")
            }
            None => line(of(&|record| record.objective), "#2266aa", "objective"),
        },
        line(of(&|record| record.gradient_norm), "#cc8844", "gradient norm"),
    ];
    let is_measured = report.measured.collapse.is_some();
    for (i, (name, color, _)) in report.measured.lines().into_iter().enumerate().filter(|_| is_measured) {
        let last = (report.run.steps, &report.measured);
        let measurements = report.measurements.iter().map(|(step, at)| (*step, at)).chain([last]);
        let points = measurements.filter_map(|(step, at)| Some((step as f64, at.lines()[i].2?)));
        plots.push(line(points.collect(), color, name));
    }
    let layout = Layout::auto_from_plots(&plots)
        .with_y_tick_format(TickFormat::Custom(Arc::new(|exponent| format!("1e{exponent}"))))
        .with_x_label("steps")
        .with_legend_position(LegendPosition::OutsideRightTop);
    svg_file::write(path, &kuva::render_to_svg(plots, layout))
}
