//! What was predicted and what was found, a row for each network.

use std::path::Path;

use anyhow::{Context, Result};

use super::Network;
use crate::{
    groups::Probabilities,
    history::{Row, write_whole},
    measure::Snapshot,
    run::Finished,
    target::{Source, Target},
};

/// A network and the theory, in numbers.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    name: String,
    seed: u64,
    row: Row,
    minimum: Option<f64>,
    /// What no point is below, if that is not the minimum.
    lower_bound: Option<f64>,
    /// Where a descent ends that starts at the network: its objective, and the distances of Gram matrices from there.
    nearby: Option<(f64, [Option<f64>; 2])>,
    /// The largest cosine of two class means.
    largest_cosine: Option<f64>,
    groups: Vec<Contrast>,
}

/// p_own - p_sibling of a group.
#[derive(Clone, Debug)]
struct Contrast {
    name: String,
    predicted: Option<f64>,
    found: f64,
}

impl Summary {
    pub(super) fn new(network: &Network, finished: &Finished) -> Result<Self> {
        let row = finished.rows.last().context("nothing has been measured")?.clone();
        let target = finished.snapshot.target.as_deref();
        let groups = network.plan.judge.groups();
        let predicted = |g: usize| target.and_then(|target| target.probabilities[g].contrast());
        let contrast = |(g, found): (usize, &Probabilities)| {
            let (name, found) = (groups[g].name(groups), found.contrast()?);
            Some(Contrast { name, predicted: predicted(g), found })
        };
        let contrasts = row.measurement.groups.iter().enumerate().filter_map(contrast).collect();
        Ok(Self {
            name: network.trial.name.clone(),
            seed: network.seed,
            minimum: target.map(|target| target.objective),
            lower_bound: target.and_then(lower_bound),
            nearby: finished.nearby.as_ref().map(|nearby| {
                let snapshot = &finished.snapshot;
                (nearby.objective, nearby.distances(&snapshot.product, &snapshot.means))
            }),
            largest_cosine: largest_cosine(&finished.snapshot),
            groups: contrasts,
            row,
        })
    }

    /// Titles and numbers.
    fn columns(&self) -> Vec<(String, Option<f64>)> {
        let m = &self.row.measurement;
        let columns = [
            ("epochs", Some(self.row.epoch)),
            ("minimum", self.minimum),
            ("lower_bound", self.lower_bound),
            ("objective", Some(m.objective)),
            ("gap", m.gap),
            ("nc1", m.nc1),
            ("gram_classifiers", m.nc2_classifier),
            ("gram_means", m.nc2_features),
            ("nc3", m.nc3),
            ("largest_cosine", self.largest_cosine),
            ("accuracy", Some(m.accuracy)),
        ];
        let mut columns: Vec<_> = columns.into_iter().map(|(title, number)| (title.to_owned(), number)).collect();
        if let Some((objective, [classifiers, means])) = self.nearby {
            columns.push(("minimum_nearby".into(), Some(objective)));
            columns.push(("gram_classifiers_nearby".into(), classifiers));
            columns.push(("gram_means_nearby".into(), means));
        }
        for Contrast { name, predicted, found } in &self.groups {
            columns.push((format!("predicted_{name}"), *predicted));
            columns.push((format!("found_{name}"), Some(*found)));
        }
        for (l, implied) in m.implied.iter().enumerate() {
            let name = if l + 1 == m.implied.len() { "features".into() } else { (l + 1).to_string() };
            columns.push((format!("implied_{name}"), implied.map(|(decay, _)| decay)));
            columns.push((format!("misfit_{name}"), implied.map(|(_, misfit)| misfit)));
        }
        columns.push(("seconds".into(), Some(self.row.seconds.round())));
        columns
    }
}

/// Writes all numbers, a line for each network.
pub(super) fn write(path: &Path, summaries: &[Summary]) -> Result<()> {
    let titles = summaries.first().map(Summary::columns).unwrap_or_default();
    let titles: Vec<_> =
        ["network", "seed"].into_iter().chain(titles.iter().map(|(title, _)| title.as_str())).collect();
    let line = |summary: &Summary| {
        let number = |(_, number): (String, Option<f64>)| number.map_or_else(String::new, |x| format!("{x:e}"));
        let numbers = summary.columns().into_iter().map(number);
        [summary.name.clone(), summary.seed.to_string()].into_iter().chain(numbers).collect::<Vec<_>>().join(",")
    };
    let lines: Vec<_> = [titles.join(",")].into_iter().chain(summaries.iter().map(line)).collect();
    write_whole(path, (lines.join("\n") + "\n").as_bytes())
}

/// The numbers that people look at, as a table.
pub(super) fn markdown(summaries: &[Summary]) -> String {
    let Some(first) = summaries.first() else { return String::new() };
    let mut titles: Vec<String> =
        ["network", "seed", "gap", "Gram W", "Gram H", "NC3", "largest cos", "accuracy"].map(Into::into).into();
    titles.extend(first.groups.iter().map(|group| group.name.clone()));
    let number = |number: Option<f64>| number.map_or_else(|| "-".into(), |x| format!("{x:.1e}"));
    let row = |summary: &Summary| {
        let m = &summary.row.measurement;
        let mut cells = vec![summary.name.clone(), summary.seed.to_string()];
        cells.extend([m.gap, m.nc2_classifier, m.nc2_features, m.nc3].map(number));
        cells.push(summary.largest_cosine.map_or_else(|| "-".into(), |cosine| format!("{cosine:.3}")));
        cells.push(format!("{:.2} %", 100.0 * m.accuracy));
        cells.extend(summary.groups.iter().map(|group| pair(group.predicted, Some(group.found))));
        cells
    };
    let legend = "Columns of groups: own class minus sibling, predicted and found.\n";
    table(&titles, &summaries.iter().map(row).collect::<Vec<_>>()) + "\n" + legend
}

/// What the theory says before training, a row for each kind of network.
pub(super) fn predictions(networks: &[Network]) -> String {
    let Some(first) = networks.first() else { return String::new() };
    let groups = first.plan.judge.groups();
    let mut titles: Vec<String> = ["network", "minimum", "rank"].map(Into::into).into();
    titles.extend(groups.iter().filter(|group| group.classes.len() > 1).map(|group| group.name(groups)));
    let kinds = networks.iter().filter(|network| network.seed == 0);
    let row = |network: &Network| {
        let target = network.plan.judge.target();
        let objective = target.map_or_else(|| "with implied decays".into(), minimum);
        let mut cells = vec![network.trial.name.clone(), objective];
        cells.push(target.map_or_else(|| "-".into(), |target| target.rank.to_string()));
        let contrasts = (0..groups.len()).filter(|&g| groups[g].classes.len() > 1);
        cells.extend(contrasts.map(|g| match target.and_then(|target| target.probabilities[g].contrast()) {
            // A descent, or a certificate, leaves classes that coincide a distance of rounding.
            Some(contrast) if contrast < 1e-9 => "coincident".into(),
            Some(contrast) => format!("{contrast:.4}"),
            None => "-".into(),
        }));
        cells
    };
    let flags = networks.iter().filter(|network| network.seed == 0);
    let flags: Vec<_> =
        flags.map(|network| format!("{}: {}\n", network.trial.name, network.trial.all_flags())).collect();
    let legend = "Columns of groups: own class minus sibling.\n";
    table(&titles, &kinds.map(row).collect::<Vec<_>>()) + "\n" + legend + "\n" + &flags.concat()
}

/// The minimum, or the interval that has it.
fn minimum(target: &Target) -> String {
    let highest = target.objective;
    match target.source {
        Source::Orthogonal { lower_bound, is_proved: false } => format!("{lower_bound:.6e} to {highest:.6e}"),
        _ => format!("{highest:.6e}"),
    }
}

fn pair(predicted: Option<f64>, found: Option<f64>) -> String {
    // Rounding makes a zero negative.
    let number = |x: Option<f64>| x.map_or_else(|| "-".into(), |x| format!("{:.4}", (1e4 * x).round() / 1e4 + 0.0));
    format!("{} {}", number(predicted), number(found))
}

/// A table in Markdown whose columns are aligned.
fn table(titles: &[String], rows: &[Vec<String>]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).chain([titles[i].chars().count()]).max();
    let widths: Vec<usize> = (0..titles.len()).map(|i| width(i).unwrap_or(0)).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    [line(titles), line(&rule)].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

fn lower_bound(target: &Target) -> Option<f64> {
    match target.source {
        Source::Orthogonal { lower_bound, .. } => Some(lower_bound),
        _ => None,
    }
}

/// The largest cosine of two class means; `None` if one of them is zero, or alone.
fn largest_cosine(snapshot: &Snapshot) -> Option<f64> {
    let means = &snapshot.means;
    let norms: Vec<f64> = means.col_iter().map(|mean| mean.norm_l2()).collect();
    let pairs = (0..norms.len()).flat_map(|k| (0..k).map(move |l| (k, l)));
    let cosine = |(k, l): (usize, usize)| means.col(k).transpose() * means.col(l) / (norms[k] * norms[l]);
    pairs.map(cosine).filter(|cosine| cosine.is_finite()).reduce(f64::max)
}
