//! The middle of the table: every metric with its target and its verdict.

use neural_collapse::metrics::{Line, Measurement, Verdict};

use super::number;

pub(super) fn metrics(measurement: &Measurement) -> String {
    let has_targets = measurement.target.is_some();
    let head = if has_targets { format!("{:>13}  verdict", "target") } else { String::new() };
    let mut lines = vec![format!("{:<26}{:>13}{head}", "metric", "measured")];
    for Line { name, measured, target, verdict, .. } in measurement.lines() {
        // What the theory has as zero, but for rounding.
        let shown = target.map(|target| if target.abs() < 1e-15 { 0.0 } else { target });
        let verdict = verdict.map_or("-", Verdict::name);
        let compared = if has_targets { format!("{:>13}  {verdict}", number(shown)) } else { String::new() };
        lines.push(format!("{name:<26}{:>13}{compared}", number(measured)));
    }
    lines.join("\n") + "\n\n" + &footnote(measurement) + "\n\n"
}

fn footnote(measurement: &Measurement) -> String {
    let has_verdicts = measurement.has_verdicts();
    let mut footnote = String::new();
    if has_verdicts {
        footnote += "reached: within 0.01 of its target (NC1 undivided: 0.01 K), near: within ten times that.\n";
    }
    if measurement.target.is_some() {
        footnote +=
            "NC2 and NC3 are those of Liu: against the optimum, class means weighted by sqrt(n_k) and not centered.\n";
    }
    footnote += "Equinorm, angles and simplex are NC2 of Papyan and Zhu: class means of equal weight, centered at\n";
    footnote += if measurement.counts.groups().len() == 1 {
        "the mean of all features.\n"
    } else {
        "the mean of all features, or (unweighted) at their own mean.\n"
    };
    footnote += "`neural-collapse measure --explain` has the formula of every line, --json all digits.";
    if has_verdicts && measurement.has_single_samples() {
        footnote += "\nNC1, trace ratio and CDNV have no verdict: classes of one sample do not vary.";
    } else if measurement.has_collapsed() {
        let is_predicted = measurement.target.as_ref().is_some_and(|target| target.has_collapsed);
        let place = if is_predicted { "at this optimum" } else { "in this network" };
        footnote += "\nNC1 and CDNV have no verdict: classes share a mean ";
        footnote += place;
        footnote += ", and between them both divide noise by noise.";
    }
    footnote
}
