//! The middle of the table: every metric with its target and its verdict.

use neural_collapse::metrics::{Line, Measurement, Verdict};

use super::number;

pub(super) fn metrics(measurement: &Measurement) -> String {
    let mut lines = vec![format!("{:<26}{:>13}{:>13}  verdict", "metric", "measured", "target").trim_end().to_owned()];
    for Line { name, measured, target, verdict, .. } in measurement.lines() {
        // What the theory has as zero, but for rounding.
        let shown = target.map(|target| if target.abs() < 1e-15 { 0.0 } else { target });
        let verdict = verdict.map_or("-", Verdict::name);
        lines.push(format!("{name:<26}{:>13}{:>13}  {verdict}", number(measured), number(shown)));
    }
    lines.join("\n") + "\n\n" + &footnote(measurement) + "\n\n"
}

fn footnote(measurement: &Measurement) -> String {
    let has_verdicts = measurement.has_verdicts();
    let mut footnote = String::new();
    if has_verdicts {
        footnote += "reached: within 0.01 of its target (NC1 undivided: 0.01 K), near: within ten times that.\n";
    }
    footnote += "`neural-collapse measure --explain` has the formula of every line, --json all digits.";
    if has_verdicts && measurement.has_single_samples() {
        footnote += "\nNC1, trace ratio and CDNV have no verdict: classes of one sample do not vary.";
    } else if has_verdicts && measurement.target.as_ref().is_some_and(|target| target.has_collapsed) {
        footnote += "\nNC1 and CDNV have no verdict: classes share a mean at this optimum, and between them both divide \
                     noise by noise.";
    }
    footnote
}
