//! What a run says in words at its end.

use crate::{
    configuration::Configuration,
    groups::Group,
    measure::Measurement,
    target::{Source, Target},
};

use super::classes;

/// A gap below this is one that a network reaches if it is trained long enough.
const CLOSE: f64 = 1e-2;

/// What was predicted and what was reached, in words.
pub(super) fn verdict(
    configuration: &Configuration,
    groups: &[Group],
    target: Option<&Target>,
    nearby: Option<&Target>,
    m: &Measurement,
) -> String {
    let Some((target, gap)) = target.zip(m.gap) else { return String::new() };
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let implied = configuration.implies_decays();
    let minimum = target.objective;
    let is_interval = !implied && matches!(target.source, Source::Orthogonal { is_proved: false, .. });
    let said = match target.source {
        Source::Orthogonal { is_proved: false, lower_bound } if !implied => format!(
            "From class counts and decays alone, the theory predicted a minimum between {lower_bound:.4e} and \
             {minimum:.4e}, the least with orthogonal class means."
        ),
        Source::Descent { .. } if !implied => format!("A descent on free features found a minimum of {minimum:.4e}."),
        _ if implied => {
            format!("With the decays that the network's own arrays imply, the theory gives a minimum of {minimum:.4e}.")
        }
        _ => format!("From class counts and decays alone, the theory predicted a minimum of {minimum:.4e}."),
    };
    // How far the network is above the minimum next to it.
    let above = nearby.map(|nearby| m.objective / nearby.objective - 1.0);
    let close = if gap.abs() < CLOSE && is_interval {
        "That is less than 1 %."
    } else if gap.abs() < CLOSE {
        "The network is within 1 % of the predicted minimum."
    } else if gap < 0.0 && is_interval {
        "Its class means are not orthogonal."
    } else if implied {
        "The theory does not describe this network: the misfits say how far it is from rest."
    } else if above.is_some_and(|above| above.abs() < CLOSE) {
        "The network has come to a minimum of its own, within 1 %."
    } else {
        "The network is not there yet: more --epochs bring it closer, or a lower rate at the end."
    };
    let objective = if implied {
        "With penalties at these decays, the objective of the network is"
    } else {
        "The network has reached an objective"
    };
    let side = |gap: f64| format!("{} {}", percent(gap.abs()), if gap < 0.0 { "below" } else { "above" });
    let than = if is_interval { "the latter" } else { "it" };
    let mut text = format!("\n{said}\n{objective} {} {than}. {close}\n", side(gap));
    if let Some((nearby, above)) = nearby.zip(above) {
        let line = format!(
            "A descent that starts at the network ends {} that minimum; the network is {} its end.\n",
            side(nearby.objective / minimum - 1.0),
            side(above)
        );
        text.push_str(&line);
    }
    if let (Some(classifiers), Some(means)) = (m.nc2_classifier, m.nc2_features) {
        let line = format!(
            "Inner products of its classifiers are within {} of the predicted ones, of its class means within {}.\n",
            percent(classifiers),
            percent(means)
        );
        text.push_str(&line);
    }
    let rows = groups.iter().zip(&target.probabilities).zip(&m.groups);
    for ((group, predicted), found) in rows {
        if let (Some(predicted), Some(found)) = (predicted.contrast(), found.contrast()) {
            let line = format!(
                "Own class minus sibling, {}: predicted {predicted:.4}, network {found:.4}.\n",
                classes(group.classes.len(), group.count, group.weight)
            );
            text.push_str(&line);
        }
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use neural_collapse::ClassCounts;

    use super::*;
    use crate::configuration::tests::configuration;

    /// The last lines for a network of one layer at this gap.
    fn said(configuration: &Configuration, gap: f64) -> String {
        said_of(&Configuration { layer_decay: vec![5e-3], width: 16, ..configuration.clone() }, gap, None)
    }

    /// The last lines for a network at this gap that has a minimum of this objective next to it.
    fn said_of(configuration: &Configuration, gap: f64, nearby: Option<f64>) -> String {
        let counts: ClassCounts = configuration.counts.parse().unwrap();
        let target = Target::new(&configuration.ufm(&counts).unwrap()).unwrap();
        let measurement = Measurement {
            objective: 0.1,
            gap: Some(gap),
            nc1: None,
            nc2_classifier: None,
            nc2_features: None,
            nc3: None,
            alignment: None,
            accuracy: 1.0,
            groups: Vec::new(),
            laws: Vec::new(),
            implied: Vec::new(),
        };
        let nearby = nearby.map(|objective| {
            let mut nearby = target.clone();
            nearby.objective = objective;
            nearby
        });
        verdict(configuration, &[], Some(&target), nearby.as_ref(), &measurement)
    }

    /// Above the lowest minimum that descents find, but next to another one.
    #[test]
    fn a_minimum_of_its_own_is_told_from_a_network_on_its_way() {
        let deep =
            Configuration { layer_decay: vec![5e-3; 2], width: 8, loss: "cross-entropy".into(), ..configuration() };
        // The objective of the network is 0.1.
        let close = said_of(&deep, 0.05, Some(0.0999));
        assert!(close.contains("come to a minimum of its own") && close.contains("0.10 % above its end"), "{close}");
        assert!(close.contains("% below that minimum") || close.contains("% above that minimum"), "{close}");
        let far = said_of(&deep, 0.05, Some(0.09));
        assert!(far.contains("not there yet") && far.contains("11.11 % above its end"), "{far}");
    }

    /// The largest class has more than half of the samples: orthogonal class means are not the minimum.
    #[test]
    fn a_minimum_that_is_not_known_is_an_interval() {
        let open = Configuration { counts: "500,30x9".into(), relu_features: true, ..configuration() };
        let below = said(&open, -0.06);
        assert!(below.contains("a minimum between 3.9121e-2 and 4.4030e-2, the least with orthogonal"), "{below}");
        assert!(below.contains("6.00 % below the latter. Its class means are not orthogonal."), "{below}");
        let proved = said(&Configuration { counts: "30,20,20".into(), ..open }, 1e-3);
        assert!(proved.contains("predicted a minimum of") && proved.contains("within 1 %"), "{proved}");
    }

    /// The decays are those of the trained arrays, and the objective is not the one that was trained.
    #[test]
    fn implied_decays_are_not_called_a_prediction() {
        let free = Configuration { counts: "30,20,20".into(), feature_decay: None, ..configuration() };
        let text = said(&free, 0.5);
        assert!(
            text.contains("With penalties at these decays, the objective of the network is 50.00 % above it."),
            "{text}"
        );
        assert!(!text.contains("class counts and decays alone") && !text.contains("more --epochs"), "{text}");
    }
}
