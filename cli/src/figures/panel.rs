//! Panels of lines, two in a row.

use std::sync::Arc;

use kuva::{
    backend::svg::SvgBackend,
    plot::{LegendPosition, LinePlot, ScatterPlot},
    render::{
        figure::Figure,
        layout::{Layout, TickFormat},
        plots::Plot,
    },
};

/// Distinct for eyes that do not tell red from green.
const COLORS: [&str; 6] = ["#2266aa", "#dd8822", "#228866", "#aa4488", "#777777", "#66aadd"];

/// Exponents of ten are what an axis shows, the numbers themselves what its ticks say: whole powers alone, where ticks
/// are closer.
fn powers_of_ten() -> TickFormat {
    TickFormat::Custom(Arc::new(|exponent| {
        // Ticks are sums of steps.
        let whole = exponent.round();
        if (exponent - whole).abs() < 1e-9 { format!("1e{whole}") } else { String::new() }
    }))
}

pub(crate) struct Panel {
    title: String,
    labels: [&'static str; 2],
    logarithmic: [bool; 2],
    plots: Vec<Plot>,
    lines: usize,
    top: Option<f64>,
    legend: LegendPosition,
}

impl Panel {
    pub(crate) fn new(title: impl Into<String>, x: &'static str, y: &'static str) -> Self {
        Self {
            title: title.into(),
            labels: [x, y],
            logarithmic: [false; 2],
            plots: Vec::new(),
            lines: 0,
            top: None,
            legend: LegendPosition::OutsideRightTop,
        }
    }

    pub(crate) fn logarithmic(self, x: bool, y: bool) -> Self {
        Self { logarithmic: [x, y], ..self }
    }

    /// From zero to a number.
    pub(crate) fn up_to(self, top: f64) -> Self {
        Self { top: Some(top), ..self }
    }

    fn place(&self, points: impl IntoIterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
        let [x_axis, y_axis] = self.logarithmic;
        let on = |is_logarithmic: bool, value: f64| if is_logarithmic { value.log10() } else { value };
        let points = points.into_iter().map(|(x, y)| (on(x_axis, x), on(y_axis, y)));
        // What is not positive has no logarithm.
        points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    }

    pub(crate) fn line(mut self, name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let line = LinePlot::new().with_data(self.place(points)).with_color(COLORS[self.lines % COLORS.len()]);
        self.plots.push(Plot::Line(line.with_legend(name)));
        self.lines += 1;
        self
    }

    pub(crate) fn points(mut self, name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let scatter = ScatterPlot::new().with_data(self.place(points)).with_color(COLORS[self.lines % COLORS.len()]);
        self.plots.push(Plot::Scatter(scatter.with_size(4.0).with_legend(name)));
        self.lines += 1;
        self
    }

    /// Dashed lines from the bottom to the top, at critical values.
    pub(crate) fn critical(mut self, at: &[f64], name: &str, [bottom, top]: [f64; 2]) -> Self {
        for (i, &x) in at.iter().enumerate() {
            let line =
                LinePlot::new().with_data(self.place([(x, bottom), (x, top)])).with_color("#999999").with_dashed();
            self.plots.push(Plot::Line(if i == 0 { line.with_legend(name) } else { line }));
        }
        self
    }

    fn finish(self) -> (Vec<Plot>, Layout) {
        let mut layout = Layout::auto_from_plots(&self.plots)
            .with_title(self.title)
            .with_x_label(self.labels[0])
            .with_y_label(self.labels[1])
            .with_legend_position(self.legend);
        if self.logarithmic[0] {
            layout = layout.with_x_tick_format(powers_of_ten()).with_x_tick_step(1.0);
        }
        if self.logarithmic[1] {
            layout = layout.with_y_tick_format(powers_of_ten());
        }
        if let Some(top) = self.top {
            layout = layout.with_y_axis_min(0.0).with_y_axis_max(top);
        }
        (self.plots, layout)
    }
}

pub(crate) fn render(panels: Vec<Panel>) -> String {
    let rows = panels.len().div_ceil(2);
    let (plots, layouts): (Vec<_>, Vec<_>) = panels.into_iter().map(Panel::finish).unzip();
    let figure = Figure::new(rows, 2).with_plots(plots).with_layouts(layouts).with_cell_size(620.0, 360.0);
    SvgBackend::default().render_scene(&figure.render())
}
