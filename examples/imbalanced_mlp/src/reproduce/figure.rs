//! One figure for a claim.

use std::path::Path;

use anyhow::Result;

use super::{Claim, Network};
use crate::{
    figures::{GAP, NC2, Panel, contrasts, implied, inner_products, logarithmic, misfits, write},
    history::Row,
    run::Finished,
};

/// Draws what shows the claim: all networks of a kind in one row.
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
            Claim::A | Claim::D | Claim::F => {
                let target = finished.snapshot.target.as_deref();
                let mut panels: Vec<_> = target
                    .into_iter()
                    .flat_map(|target| inner_products(target, &finished.snapshot).into_iter().flatten())
                    .collect();
                panels.push(logarithmic(&format!("{}: gap to the minimum", network.trial.name), GAP.1, &runs));
                panels
            }
        });
    }
    // Few panels stand side by side.
    let columns = match claim {
        Claim::B | Claim::C => rows.len(),
        _ => rows.first().map_or(1, Vec::len),
    };
    write(path, columns, rows.into_iter().flatten().collect())
}
