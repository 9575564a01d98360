//! `neural-collapse measure` without decays, on networks that were trained: which loss, which decays, and whether there is
//! an optimum to compare them with.

#[path = "program/measure.rs"]
mod measure;
mod program;
#[path = "program/trained.rs"]
mod trained;

use measure::compare_up_to;
use serde_json::Value;
use trained::{Trained, findings, has_verdict, number, verdicts};

const CASES: [&str; 8] =
    ["penalized", "relu", "entropy", "balanced", "weight-decay", "two-layers", "adamw", "collapsed"];
/// Penalized features that the decays of the layers before them hold as well.
const HELD: [&str; 2] = ["leaky", "held"];
const PENALIZED: [&str; 6] = ["penalized", "relu", "entropy", "balanced", "two-layers", "collapsed"];

/// Features of 32 bits are read exactly. What rounding of sums in 64 bits may do is in the table, entry for entry: the
/// derivation is in `implied.py`.
#[test]
fn arrays_imply_what_numpy_says() {
    for case in CASES.into_iter().chain(HELD) {
        let network = Trained::new(case);
        let (measured, expected) = (network.measured(), &network.expected);
        compare_up_to(&expected["rounding"], case, &measured["implied"], &expected["implied"]);
        assert_eq!(measured["implied"]["loss"], expected["loss"], "{case}");
        assert_eq!(measured["implied"]["class_weights"], expected["class_weights"], "{case}");
        assert_eq!(measured["implied"]["nonnegative_features"], case == "relu", "{case}");
    }
}

#[test]
fn implied_decays_are_those_of_training() {
    for case in CASES.into_iter().filter(|case| *case != "adamw") {
        let network = Trained::new(case);
        let (measured, expected) = (network.measured(), &network.expected);
        let loss = expected["loss"].as_str().unwrap().replace('-', "_");
        let implied = &measured["implied"][loss];
        let check = |name: &str, ours: &Value, trained: &Value| {
            let (ours, trained) = (number(ours), number(trained));
            assert!((ours / trained - 1.0).abs() <= 0.01, "{case}, {name}: {ours} {trained}");
        };
        for (place, trained) in expected["layer_decay"].as_array().unwrap().iter().enumerate() {
            check("layer", &implied["layer_decay"][place], trained);
        }
        for name in ["feature_decay", "bias_decay"] {
            if !expected[name].is_null() {
                check(name, &implied[name], &expected[name]);
            }
        }
    }
}

#[test]
fn a_network_is_compared_only_if_there_is_an_optimum() {
    for case in PENALIZED {
        let measured = Trained::new(case).measured();
        assert_eq!(findings(&measured), [""; 0], "{case}");
        assert_eq!(measured["applies"], true, "{case}");
        assert_eq!(measured["decays_from"], "arrays", "{case}");
        // Sums over N (K + d) products, and what the crate has not proved of the optimum.
        let rounding = 1e3 * f64::EPSILON + number(&measured["optimum_gap"]).abs();
        assert!(number(&measured["gap"]) >= -rounding, "{case}: {}", measured["gap"]);
    }
    let no_penalty = "features were not penalized";
    let cases: [(&str, &[&str]); 2] = [
        ("weight-decay", &[no_penalty, "the bias was penalized as well, with "]),
        ("adamw", &["the layers are not at rest under any of these losses with any decay"]),
    ];
    for (case, sentences) in cases {
        let measured = Trained::new(case).measured();
        let found = findings(&measured);
        assert_eq!(found.len(), sentences.len(), "{case}: {found:?}");
        for (found, sentence) in found.iter().zip(sentences) {
            assert!(found.starts_with(sentence), "{case}: {found}");
        }
        assert_eq!(measured["applies"], false, "{case}");
        for absent in ["model", "decays_from", "gap", "optimum", "distance"] {
            assert!(measured[absent].is_null(), "{case}: {absent} is {}", measured[absent]);
        }
    }
}

/// Their misfit is that of features without a penalty. Class means tell the difference.
#[test]
fn penalized_features_that_are_held_by_more_are_not_called_unpenalized() {
    for case in HELD {
        let network = Trained::new(case);
        let measured = network.measured();
        let [all, positive] = ["all", "positive"].map(|of| number(&network.expected["class_means"][of]));
        let sentence = match case {
            "leaky" => {
                format!("class means are at rest with a penalty where they are positive (misfit {positive:.1e}), ")
            }
            _ => format!("features look penalized, and not by that alone (misfit 0.90, of class means {all:.2}): "),
        };
        assert!(number(&measured["implied"]["squared"]["feature_misfit"]) > 0.5, "{case}");
        assert_eq!((&measured["implied"]["loss"], &measured["applies"]), (&"squared".into(), &false.into()), "{case}");
        let decays = [&measured["implied"]["squared"], &network.expected].map(|of| number(&of["layer_decay"][0]));
        assert!((decays[0] / decays[1] - 1.0).abs() <= 0.01, "{case}: {decays:?}");
        let found = findings(&measured);
        assert!(found[0].starts_with(&sentence), "{case}: {found:?}");
        assert!(!found.iter().any(|finding| finding.contains("not penalized")), "{case}: {found:?}");
        let table = network.table("");
        assert!(table.contains("no verdicts: the features are not where a penalty alone would have them"), "{table}");
        assert!(!verdicts(&table).iter().any(has_verdict), "{table}");
    }
}

#[test]
fn labels_of_other_samples_do_not_belong() {
    for case in CASES {
        let measured = Trained::new(case).shuffled(case).measured();
        let found = findings(&measured);
        assert!(
            found[0].starts_with("labels do not belong to the outputs: the network is right about "),
            "{case}: {found:?}"
        );
        assert_eq!(measured["applies"], false, "{case}");
    }
}

/// A network whose minority classes have collapsed decides for frequent classes alone: chance is what its own decisions
/// have, and not that of the labels alone.
#[test]
fn chance_is_that_of_the_decisions_of_the_network() {
    let network = Trained::new("collapsed");
    let samples = network.labels().len();
    for turn in 1..12 {
        let turned =
            network.relabeled(&format!("turned-{turn}"), |labels, sample| labels[(sample + 7 * turn) % samples]);
        let found = findings(&turned.measured());
        assert!(found[0].starts_with("labels do not belong to the outputs: "), "{turn}: {found:?}");
    }
}

#[test]
fn renumbered_classes_are_found_out() {
    for case in CASES {
        let measured = Trained::new(case).renumbered(case).measured();
        let found = findings(&measured);
        assert!(found[0].starts_with("outputs and labels are in different orders: "), "{case}: {found:?}");
        assert_eq!(measured["applies"], false, "{case}");
    }
}

#[test]
fn decays_that_the_arrays_confirm_need_no_word() {
    for case in PENALIZED {
        let network = Trained::new(case);
        let (from_arrays, from_flags) = (network.measured(), network.with(&network.decays));
        assert_eq!(findings(&from_flags), [""; 0], "{case}");
        assert_eq!(from_flags["decays_from"], "flags", "{case}");
        assert_eq!(from_flags["applies"], true, "{case}");
        // Decays say nothing about the gradients.
        compare_up_to(&network.expected["rounding"], case, &from_flags["implied"], &network.expected["implied"]);
        for measured in [from_arrays, from_flags] {
            assert_eq!(measured["implied"]["loss"], network.expected["loss"], "{case}");
            assert!(number(&measured["gap"]) <= 1e-3, "{case}: {}", measured["gap"]);
            assert!(number(&measured["distance"]) <= 1e-2, "{case}: {}", measured["distances"]);
        }
    }
}

/// 'the layer: you say 0.010000 under half-mean; the arrays say 0.010000 under mean'
#[test]
fn a_wrong_convention_is_named_with_the_right_one() {
    for (case, layers, given) in [
        ("penalized", &["the layer"][..], &["0.010000"][..]),
        ("relu", &["the layer"], &["0.010000"]),
        ("two-layers", &["layer 1", "layer 2"], &["0.004000", "0.006000"]),
    ] {
        let network = Trained::new(case);
        let wrong = network.decays.replace("--loss-convention mean", "--loss-convention half-mean");
        assert_ne!(wrong, network.decays);
        let measured = network.with(&wrong);
        let found = findings(&measured);
        // One sentence for each layer; the convention that explains them explains the features.
        assert_eq!(found.len(), layers.len(), "{case}: {found:?}");
        for ((layer, given), found) in layers.iter().zip(given).zip(&found) {
            let said = format!("{layer}: you say {given} under half-mean; the arrays say ");
            let meant = found.strip_prefix(&said).and_then(|found| found.strip_suffix(" under mean"));
            let meant: f64 = meant.unwrap_or_else(|| panic!("{case}: {found}")).parse().unwrap();
            assert!((meant / given.parse::<f64>().unwrap() - 1.0).abs() <= 0.01, "{case}: {found}");
        }
        assert_eq!(measured["applies"], false, "{case}");
        assert_eq!(measured["decays_from"], "flags", "{case}");
        assert!(!verdicts(&network.table(&wrong)).iter().any(has_verdict), "{case}");
    }
}

#[test]
fn a_wrong_loss_is_named_with_the_right_one() {
    let squared = "--loss squared --layer-decay 1e-2 --loss-convention mean --feature-decay 1e-2 \
                   --feature-convention mean";
    let entropy = "--loss cross-entropy --layer-decay 1e-2 --feature-decay 1e-2 --feature-convention mean";
    for (case, decays, sentence) in [
        ("penalized", entropy, "you say cross-entropy; the arrays say squared loss"),
        ("entropy", squared, "you say squared loss; the arrays say cross-entropy"),
    ] {
        let network = Trained::new(case);
        let measured = network.with(decays);
        assert_eq!(findings(&measured), [sentence], "{case}");
        assert_eq!(measured["applies"], false, "{case}");
    }
}

#[test]
fn the_table_has_verdicts_only_where_the_model_applies() {
    for case in CASES {
        let network = Trained::new(case);
        let applies = PENALIZED.contains(&case);
        let all = verdicts(&network.table(""));
        assert!(all.len() > 20, "{case}: {all:?}");
        assert_eq!(all.iter().any(has_verdict), applies, "{case}: {all:?}");
        for other in [network.shuffled(&format!("{case}-table")), network.renumbered(&format!("{case}-table"))] {
            let table = other.table("");
            assert!(!verdicts(&table).iter().any(has_verdict), "{case}: {table}");
            assert!(table.contains("no verdicts: "), "{case}: {table}");
        }
    }
}

#[test]
fn features_after_a_relu_are_judged_by_their_own_optimum() {
    let network = Trained::new("relu");
    let measured = network.measured();
    assert_eq!(measured["model"]["nonnegative_features"], true);
    // Of the decays that the arrays imply.
    let gap = number(&measured["gap"]);
    assert!((0.0..=1e-3).contains(&gap), "{gap}");
    // Of those of training, against NumPy: sums over N (K + d) = 864 squares, and what the crate has not proved of the
    // optimum.
    let (measured, expected) = (network.with(&network.decays), &network.expected);
    let allowed = 864.0 * f64::EPSILON + number(&measured["optimum_gap"]).abs();
    let [ours, table] = [&measured, expected].map(|of| number(&of["optimum"]));
    assert!((ours / table - 1.0).abs() <= allowed, "{ours} {table} {allowed}");
    let [ours, table] = [&measured, expected].map(|of| number(&of["gap"]));
    assert!((ours - table).abs() <= 2.0 * allowed, "{ours} {table} {allowed}");
    let verdicts = verdicts(&network.table(""));
    let gap = verdicts.iter().find(|(name, _)| name == "relative gap").unwrap();
    assert_eq!(gap.1, "reached");
    assert!(!verdicts.iter().any(|(_, verdict)| verdict == "far"), "{verdicts:?}");
}

#[test]
fn classes_that_share_a_mean_have_no_verdict_on_their_variability() {
    let network = Trained::new("collapsed");
    let measured = network.measured();
    assert_eq!(measured["collapsed"], true);
    assert!(number(&measured["cdnv_apart"]) < number(&measured["cdnv"]) / 10.0, "{measured}");
    let verdicts = verdicts(&network.table(""));
    for (name, verdict) in &verdicts {
        if name.starts_with("NC1") || name == "CDNV" {
            assert_eq!(verdict, "-", "{name}");
        }
    }
    assert!(verdicts.iter().any(|line| line.0 == "CDNV, classes apart" && has_verdict(line)), "{verdicts:?}");
}

/// With as many samples in every class, with two classes, and with one direction left, layers are at rest under both losses.
/// The bias tells which one it was, and decays that are given test the sizes.
#[test]
fn layers_at_rest_under_both_losses_are_read_under_the_one_of_training() {
    for case in ["even", "two", "two-entropy", "majority"] {
        let network = Trained::new(case);
        let (from_arrays, from_flags) = (network.measured(), network.with(&network.decays));
        assert_eq!(findings(&from_flags), [""; 0], "{case}");
        let found = findings(&from_arrays);
        assert!(found.len() == 1 && found[0].starts_with("layers like these are at rest at any size"), "{found:?}");
        for measured in [from_flags, from_arrays] {
            assert_eq!(measured["implied"]["loss"], network.expected["loss"], "{case}");
            assert_eq!(measured["applies"], true, "{case}");
            assert!(number(&measured["gap"]) <= 1e-3, "{case}: {}", measured["gap"]);
        }
        // With the decays that the sizes imply, the gap would be zero at any size.
        let gap = |table: &str| verdicts(table).into_iter().find(|(name, _)| name == "relative gap").unwrap().1;
        assert_eq!(gap(&network.table("")), "-", "{case}");
        assert_eq!(gap(&network.table(&network.decays)), "reached", "{case}");
    }
}

/// `weight_decay` on everything, and no penalty of the features.
#[test]
fn decays_of_layers_alone_are_compared_with_the_arrays() {
    let network = Trained::new("weight-decay");
    let table = network.table("--layer-decay 5e-3 --loss-convention half-sum");
    assert!(table.contains("layers: you say 5e-3, which is 5.0000e-3 in these units; the arrays agree, "), "{table}");
    for flags in [
        "--layer-decay 5e-3 --loss-convention half-sum",
        "--layer-decay 5e-3 --loss-convention half-sum --feature-decay 0",
    ] {
        let measured = network.with(flags);
        let found = findings(&measured);
        assert!(found.len() == 2 && found[0].starts_with("features were not penalized"), "{flags}: {found:?}");
        for absent in ["model", "gap", "optimum", "rank", "distance", "feature_decay"] {
            assert!(measured[absent].is_null(), "{flags}: {absent} is {}", measured[absent]);
        }
    }
    let found = findings(&network.with("--layer-decay 2e-2 --loss-convention half-sum"));
    assert!(found[0].starts_with("the layer: you say 0.020000; the arrays say 0.0050"), "{found:?}");
    // Features that were penalized deny it.
    let found = findings(
        &Trained::new("penalized").with("--layer-decay 1e-2 --loss-convention mean --feature-convention mean"),
    );
    let start = "features: you say that they are not penalized; the arrays say 0.00";
    assert!(found.len() == 1 && found[0].starts_with(start) && found[0].ends_with(" under mean"), "{found:?}");
}

#[test]
fn a_wrong_convention_of_the_features_is_named_with_the_right_one() {
    let network = Trained::new("penalized");
    let wrong = network.decays.replace("--feature-convention mean", "--feature-convention total");
    let found = findings(&network.with(&wrong));
    let start = "features: you say 0.004000 under total; the arrays say 0.00";
    assert!(found.len() == 1 && found[0].starts_with(start) && found[0].ends_with(" under mean"), "{found:?}");
}

/// Decays of a theory that does not apply: measured numbers alone, but for those who ask for more.
#[test]
fn there_are_no_targets_where_the_theory_does_not_apply() {
    let decays =
        "--loss squared --layer-decay 1e-3 --loss-convention half-sum --feature-decay 1e-3 --feature-convention mean";
    for case in ["adamw", "weight-decay", "entropy"] {
        let network = Trained::new(case);
        let measured = network.with(decays);
        assert_eq!(measured["applies"], false, "{case}");
        for absent in ["gap", "optimum", "objective", "rank", "distance", "nc4_predicted", "distances"] {
            assert!(measured[absent].is_null(), "{case}: {absent} is {}", measured[absent]);
        }
        assert!(measured["nc2"]["features"].is_null() && measured["frames"]["predicted"].is_null(), "{case}");
        assert!(measured["singular_values"]["product"]["predicted"].is_null(), "{case}");
        let copy = network.copied(&format!("implied-no-targets-{case}"));
        let table = copy.table(&format!("{decays} --plot figure.svg"));
        for word in ["target", "predicted", "optimum: ", "relative gap"] {
            assert!(!table.contains(word), "{case}: {word} in {table}");
        }
        let figure = std::fs::read_to_string(copy.folder.join("figure.svg")).unwrap();
        assert!(figure.contains("classifiers, measured") && !figure.contains("predicted"), "{case}");
        let anyway = network.with(&format!("{decays} --anyway"));
        assert!(anyway["applies"] == false && number(&anyway["gap"]) > 0.0, "{case}: {}", anyway["gap"]);
    }
}

#[test]
fn a_collapse_that_no_optimum_predicts_is_found_in_the_arrays() {
    let network = Trained::new("collapsed");
    let measured = network.with("--loss cross-entropy");
    let start = "classes have collapsed into one mean, compared with how their samples vary: ";
    assert!(findings(&measured).iter().any(|finding| finding.starts_with(start)), "{:?}", findings(&measured));
    assert!(!measured["collapsed_classes"][0].is_null());
    // Over the same pairs as at the optimum.
    assert_eq!(measured["cdnv_apart"], network.measured()["cdnv_apart"]);
    let table = network.table("--loss cross-entropy");
    assert!(table.contains("CDNV, classes apart") && table.contains("classes share a mean in this network"), "{table}");
    for case in ["penalized", "weight-decay", "adamw", "entropy"] {
        assert_eq!(Trained::new(case).measured()["collapsed_classes"], serde_json::json!([]), "{case}");
    }
}
