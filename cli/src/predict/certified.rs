//! Losses without a closed form: the certified minimizer of one layer, as JSON and as a table.

use neural_collapse::{
    Error, Loss,
    faer::Mat,
    theory::{Certified, CertifiedGroup, GroupFate},
};
use serde_json::{Value, json};

use super::{
    angles::Angles,
    next_decays::next_decays,
    report::{GroupReport, Report, degrees, model_lines, plural},
    table::both_ends,
};
use crate::shared::{
    contrasts::{collapse_scale, is_diagonal},
    numbers::short,
};

const HEADING: &str =
    " classes    samples      weight       p own   p sibling  classifier  class mean  nearest angle  classifiers";

/// The relative gap up to which the digits of the minimum that are shown are proved, up to rounding.
const PROVED: f64 = 1e-12;

/// Groups that a sentence names.
const MOST_NAMED: usize = 3;

pub(super) fn as_json(minimizer: &Certified, angle: f64) -> Result<Value, Error> {
    let ufm = minimizer.ufm();
    let angles = Angles::new(minimizer, angle)?;
    let bias = minimizer.bias();
    let group = |r: usize| {
        let class = minimizer.groups()[r].classes[0];
        GroupReport { bias: bias.as_ref().map(|bias| bias[class]), ..group(minimizer, &angles, r) }.as_json()
    };
    let report = Report {
        ufm,
        objective: minimizer.objective(),
        lower_bound: minimizer.lower_bound(),
        gap: minimizer.gap(),
        rank: minimizer.rank(),
        is_unique: Some(true),
        directions: directions(minimizer),
        limits: Report::no_limits(),
        angle,
        groups: (0..minimizer.groups().len()).map(group).collect(),
        clusters: Some(angles.clusters_as_json()),
    };
    let mut object = report.into_json();
    object["logits"] = logits(&minimizer.logits(), |r| minimizer.groups()[r].multiplicity());
    object["logits_own"] = json!(minimizer.logits_own());
    Ok(object)
}

/// Row r is a class of group r, column s a sample of group s; its own class is not meant.
pub(super) fn logits(logits: &Mat<f64>, multiplicity: impl Fn(usize) -> usize) -> Value {
    let entry = |r: usize, s: usize| (r != s || multiplicity(r) > 1).then(|| logits[(r, s)]);
    let row = |r: usize| (0..logits.ncols()).map(|s| entry(r, s)).collect::<Vec<_>>();
    (0..logits.nrows()).map(row).collect::<Vec<_>>().into()
}

/// Equal singular values together. Only a spectrum of the target has targets and shrinkage.
fn directions(minimizer: &Certified) -> Vec<Value> {
    let ufm = minimizer.ufm();
    let ratio = (ufm.feature_decay() / ufm.layers()[0].decay).sqrt();
    let values = minimizer.singular_values();
    let object = |equal: &[f64]| {
        let product = (equal[0] * ratio).sqrt();
        json!({
            "multiplicity": equal.len(),
            "target": null,
            "shrinkage": null,
            "prediction": equal[0],
            "product": product,
            "feature": (equal[0] / ratio).sqrt(),
            "layers": [product],
        })
    };
    values.chunk_by(|one, next| one == next).map(object).collect()
}

fn group(minimizer: &Certified, angles: &Angles<'_>, r: usize) -> GroupReport {
    let (ufm, group) = (minimizer.ufm(), &minimizer.groups()[r]);
    let (scale, nearest) = (collapse_scale(ufm, group), angles.nearest(r));
    let vanishes = is_diagonal(ufm);
    GroupReport {
        count: group.count,
        classes: group.multiplicity(),
        first_class: group.classes[0],
        weight: group.weight,
        fate: group.fate,
        is_merged: Some(nearest.is_some_and(|(_, _, angle)| angles.is_within(angle))),
        probability_own: Some(group.probability_own),
        probability_sibling: group.probability_sibling,
        classifier_norm: Some(group.classifier_norm),
        mean_norm: Some(group.mean_norm),
        bias: None,
        nearest,
        coincidence_scale: scale.filter(|_| !vanishes),
        vanishing_scale: scale.filter(|_| vanishes),
    }
}

pub(super) fn as_table(minimizer: &Certified, angle: f64) -> Result<String, Error> {
    let angles = Angles::new(minimizer, angle)?;
    let gap = minimizer.gap();
    let digits = if gap.abs() <= PROVED { "rounding" } else { "the digits beyond it are not proved" };
    let p = if minimizer.ufm().loss() == Loss::CrossEntropy { "probability" } else { "output" };
    let mut lines = model_lines(minimizer.ufm());
    lines.extend([
        String::new(),
        format!("minimum      {:.15e}", minimizer.objective()),
        format!("lower bound  {:.15e}, by the dual problem: no point is lower", minimizer.lower_bound()),
        format!("gap          {gap:.1e} of the minimum: {digits}"),
        format!("rank         {}", minimizer.rank()),
        "minimizer    unique up to rotations of the features".into(),
        String::new(),
    ]);
    lines.extend(fates(minimizer)?);
    lines.extend([
        String::new(),
        format!("p own, p sibling        {p} of a sample's own class, and of another class of its group"),
        "classifier, class mean  their norms".into(),
        String::new(),
        HEADING.into(),
    ]);
    lines.extend(both_ends(minimizer.groups().len(), "    ", |r| Ok(row(minimizer, &angles, r)))?);
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

fn row(minimizer: &Certified, angles: &Angles<'_>, r: usize) -> String {
    let group = group(minimizer, angles, r);
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), short);
    let numbers =
        [Some(group.weight), group.probability_own, group.probability_sibling, group.classifier_norm, group.mean_norm];
    let numbers: Vec<_> = numbers.map(|value| format!("{:>10}", number(value))).into();
    let angle = group.nearest.map_or_else(|| "none".into(), |(_, _, angle)| degrees(angle));
    let fate = match group.fate {
        GroupFate::Distinct => "each its own",
        GroupFate::Single => "one, with no other of its count and weight",
        GroupFate::Coincident => "one for all (collapsed)",
        GroupFate::Vanished => "zero",
        _ => "open",
    };
    // A single class is merged with another group only, several that have collapsed are merged anyway.
    let is_told = group.is_merged == Some(true) && group.fate != GroupFate::Coincident;
    let merged = if is_told { ", close to another" } else { "" };
    format!("{:>8}  {:>9}  {}  {angle:>13}  {fate}{merged}", group.classes, group.count, numbers.join("  "))
}

/// What has collapsed, and at which decays that changes.
fn fates(minimizer: &Certified) -> Result<Vec<String>, Error> {
    let is_collapsed = |group: &CertifiedGroup| matches!(group.fate, GroupFate::Coincident | GroupFate::Vanished);
    let collapsed: Vec<_> = minimizer.groups().iter().filter(|group| is_collapsed(group)).collect();
    let mut lines = vec![if collapsed.is_empty() {
        "collapsed            none: no classes share a classifier".into()
    } else {
        let mut names: Vec<_> = collapsed.iter().take(MOST_NAMED).map(|group| fate(minimizer, group)).collect();
        if collapsed.len() > MOST_NAMED {
            names.push(format!("{} more groups", collapsed.len() - MOST_NAMED));
        }
        format!("collapsed            {}", names.join("; "))
    }];
    lines.extend(next_decays(minimizer, is_collapsed)?);
    Ok(lines)
}

fn fate(minimizer: &Certified, group: &CertifiedGroup) -> String {
    let name = name(minimizer, group);
    match (group.fate, group.multiplicity()) {
        (GroupFate::Coincident, _) => format!("{name} share one classifier"),
        (_, 1) => format!("{name} has a classifier of zero"),
        _ => format!("{name} have classifiers of zero"),
    }
}

/// `20 classes of 50 samples`, with the weight if the count does not say which.
pub(super) fn name(minimizer: &Certified, group: &CertifiedGroup) -> String {
    name_of(minimizer.groups().iter().map(|other| other.count), group.multiplicity(), group.count, group.weight)
}

/// The same of a group of so many classes, beside groups of these counts, its own among them.
pub(super) fn name_of(counts: impl Iterator<Item = u64>, classes: usize, count: u64, weight: f64) -> String {
    let is_alone = counts.filter(|other| *other == count).count() == 1;
    let weight = if is_alone { String::new() } else { format!(" and weight {}", short(weight)) };
    let samples = if count == 1 { "sample" } else { "samples" };
    format!("{} of {count} {samples}{weight}", plural(classes, "class", "classes"))
}
