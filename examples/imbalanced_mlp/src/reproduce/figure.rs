//! One figure for a claim.

use std::path::Path;

use anyhow::Result;

use super::{Claim, Network};
use crate::{
    figures::{GAP, NC2, Panel, contrasts, implied, inner_products, logarithmic, misfits, objectives, write},
    history::Row,
    run::Finished,
    target::Source,
};

/// Draws what shows the claim: all networks of a kind in one panel, one row or, with their matrices, in two.
pub(super) fn draw(path: &Path, claim: Claim, networks: &[Network], finished: &[Finished]) -> Result<()> {
    let mut rows: Vec<Vec<Panel>> = Vec::new();
    let both: Vec<_> = networks.iter().zip(finished).collect();
    for kind in both.chunk_by(|(one, _), (other, _)| one.trial.name == other.trial.name) {
        let runs: Vec<&[Row]> = kind.iter().map(|(_, finished)| finished.rows.as_slice()).collect();
        let Some((network, finished)) = kind.first() else { continue };
        rows.push(match claim {
            Claim::B | Claim::C => vec![contrasts(
                &format!("{}: own class minus sibling", network.trial.name),
                network.plan.judge.groups(),
                &runs,
            )],
            Claim::E => vec![
                implied(&format!("{}: implied decays", network.trial.name), &runs),
                misfits(&format!("{}: misfit", network.trial.name), &runs),
                logarithmic(&format!("{}: Gram matrices", network.trial.name), NC2.1, &runs),
            ],
            Claim::A | Claim::D | Claim::DOpen | Claim::F => with_matrices(&network.trial.name, finished, &runs),
        });
    }
    // More than three panels in a row are too small to read.
    let panels: Vec<_> = rows.into_iter().flatten().collect();
    write(path, panels.len().min(3), panels)
}

/// Gram matrices of the theory and of one network, each pair with a panel of all runs: the gap, or the objective if the
/// minimum is only known to be in an interval, and the distance of these matrices. If there is no theory the matrices are
/// compared with those of the minimum next to the network, which other networks do not share: misfits say whether they are
/// at rest.
fn with_matrices(name: &str, finished: &Finished, runs: &[&[Row]]) -> Vec<Panel> {
    let target = finished.snapshot.target.as_deref();
    let reached = match target.map(|target| (target.source, target.objective)) {
        // Gaps below the upper end are negative, and have no logarithm.
        Some((Source::Orthogonal { lower_bound, is_proved: false }, upper)) => {
            objectives(&format!("{name}: objective (bounds: dashed)"), [lower_bound, upper], runs)
        }
        Some((Source::Descent { .. }, _)) => logarithmic(&format!("{name}: gap to the best descent"), GAP.1, runs),
        _ => logarithmic(&format!("{name}: gap to the minimum"), GAP.1, runs),
    };
    let settled = match &finished.nearby {
        Some(_) => misfits(&format!("{name}: misfits"), runs),
        None => logarithmic(&format!("{name}: distance of Gram matrices"), NC2.1, runs),
    };
    let curves = [reached, settled];
    let Some(target) = finished.nearby.as_ref().or(target) else { return curves.into() };
    let matrices = inner_products(&format!("{name}, "), target, &finished.snapshot);
    matrices.into_iter().zip(curves).flat_map(|(pair, curve)| pair.into_iter().chain([curve])).collect()
}
