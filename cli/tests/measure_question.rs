//! `neural-collapse measure` on trained networks whose arrays, flags or labels are not what they should be: it says what is
//! wrong with the question.

// Class numbers of small networks.
#![allow(clippy::cast_possible_truncation)]

#[path = "program/measure.rs"]
mod measure;
mod program;
#[path = "program/trained.rs"]
mod trained;

use std::fs;

use measure::{doubles, json, npy, refusal, run, small};
use serde_json::Value;
use trained::{Trained, findings, has_verdict, number, verdicts};

fn bytes(rows: &[Vec<u8>]) -> Vec<u8> {
    rows.concat()
}

/// The finding of this beginning.
fn found(measured: &Value, start: &str) -> String {
    let all = findings(measured);
    all.iter().find(|finding| finding.starts_with(start)).unwrap_or_else(|| panic!("{start}: {all:?}")).clone()
}

#[test]
fn losses_that_nothing_tells_apart_are_both_named_and_none_is_chosen() {
    let network = Trained::new("undecided");
    let measured = network.measured();
    found(&measured, "several losses fit: squared and cross-entropy; ");
    assert!(measured["implied"]["loss"].is_null() && measured["model"].is_null(), "{measured}");
    assert_eq!(measured["applies"], false);
    assert!(!verdicts(&network.table("")).iter().any(has_verdict));
    for loss in ["squared", "cross-entropy"] {
        // Both have positive decays, and both misfits are those of layers at rest.
        let implied = &measured["implied"][loss.replace('-', "_")];
        assert!(number(&implied["layer_decay"][0]) > 0.0 && number(&implied["layer_misfit"][0]) < 1e-3, "{implied}");
        let said = network.with(&format!("--loss {loss}"));
        assert_eq!(said["implied"]["loss"], loss);
        assert_eq!(said["model"]["loss"], loss);
        found(&said, "layers like these are at rest at any size");
    }
    let confirmed = network.with(&network.decays);
    assert_eq!(findings(&confirmed), [""; 0]);
    assert_eq!(confirmed["applies"], true);
}

/// Layers of equal counts are at rest at any size: half of the outputs are an optimum of other decays.
#[test]
fn sizes_that_the_misfit_does_not_test_are_said() {
    let network = Trained::new("even").copied("question-sizes");
    let rows = network.rows("W.npy", 4);
    let halved = |row: &Vec<u8>| -> Vec<u8> {
        let halve = |bytes: &[u8]| (0.5 * f32::from_le_bytes(bytes.try_into().unwrap())).to_le_bytes();
        row.chunks(4).flat_map(halve).collect()
    };
    let halved: Vec<Vec<u8>> = rows.iter().map(halved).collect();
    fs::write(network.folder.join("W.npy"), npy("<f4", false, "(4, 8)", &bytes(&halved))).unwrap();
    let measured = network.measured();
    assert!(number(&measured["implied"]["squared"]["layer_misfit"][0]) < 1e-3);
    found(&measured, "layers like these are at rest at any size");
    assert_eq!(verdicts(&network.table("")).iter().find(|line| line.0 == "relative gap").unwrap().1, "-");
    // The decays of training test it.
    assert!(findings(&network.with(&network.decays)).iter().any(|finding| finding.starts_with("the layer: you say ")));
}

#[test]
fn logit_adjustment_is_not_taken_for_class_weights() {
    for case in ["adjusted", "adjusted-four"] {
        let network = Trained::new(case);
        let measured = network.measured();
        assert!(measured["implied"]["loss"].is_null(), "{case}: {}", measured["implied"]);
        assert_eq!(measured["implied"]["class_weights"], "none", "{case}");
        assert_eq!(measured["applies"], false, "{case}");
        let told = network.with("--loss cross-entropy --logit-adjustment 1");
        assert_eq!(told["implied"]["loss"], "cross-entropy", "{case}");
        assert_eq!(told["applies"], true, "{case}: {:?}", findings(&told));
        let confirmed = network.with(&network.decays);
        assert_eq!(findings(&confirmed), [""; 0], "{case}");
        assert!(number(&confirmed["gap"]) <= 1e-3, "{case}: {}", confirmed["gap"]);
    }
    let finding =
        found(&Trained::new("adjusted").measured(), "the layers are at rest, and class means are not (misfit ");
    // Other activations leave the same trace.
    assert!(finding.contains("an activation whose optimum is not known (LeakyReLU, GELU, tanh)"), "{finding}");
}

#[test]
fn classes_whose_outputs_are_swapped_are_named() {
    let original = Trained::new("penalized");
    for (name, order, expected) in
        [("two", [0, 2, 1, 3, 4], "1 as 2, 2 as 1"), ("three", [4, 1, 0, 3, 2], "0 as 2, 2 as 4, 4 as 0")]
    {
        let network = original.copied(&format!("question-swapped-{name}"));
        for (file, shape) in [("W.npy", "(5, 8)"), ("b.npy", "(5,)")] {
            let rows = network.rows(file, 5);
            let swapped: Vec<Vec<u8>> = order.iter().map(|&row: &usize| rows[row].clone()).collect();
            fs::write(network.folder.join(file), npy("<f4", false, shape, &bytes(&swapped))).unwrap();
        }
        let measured = network.measured();
        let finding = found(&measured, "outputs of some classes are in another order than the labels");
        assert!(finding.contains(&format!(", {expected} (counted from 0)")), "{finding}");
        assert_eq!(measured["applies"], false);
    }
    // The same by the labels of two classes.
    let renamed = original.relabeled("swapped", |labels, sample| [0, 1, 2, 4, 3][labels[sample] as usize]);
    let finding = found(&renamed.measured(), "outputs of some classes are in another order than the labels");
    assert!(finding.contains("3 as 4, 4 as 3"), "{finding}");
    // Minority classes that have collapsed are taken for others, and nothing is swapped.
    assert_eq!(findings(&Trained::new("collapsed").measured()), [""; 0]);
}

#[test]
fn a_forgotten_bias_is_asked_for() {
    for case in ["penalized", "relu", "entropy", "two-layers", "collapsed"] {
        let network = Trained::new(case);
        let measured = json(&network.flags.replace("--bias b.npy", ""), &network.folder);
        let finding = found(&measured, "the arrays are at rest if a constant is added to the outputs");
        assert!(finding.ends_with("was --bias forgotten?"), "{case}: {finding}");
        assert_eq!(measured["applies"], false, "{case}");
    }
    // A network without one misses none.
    let network = Trained::new("undecided");
    for loss in ["squared", "cross-entropy"] {
        let all = findings(&network.with(&format!("--loss {loss}")));
        assert!(!all.iter().any(|finding| finding.contains("--bias")), "{all:?}");
    }
}

/// The samples of a network that `keep` takes, by their label and their place in their class.
fn subset(network: &Trained, name: &str, keep: impl Fn(u64, usize) -> bool) -> Trained {
    let copy = network.copied(name);
    let labels = network.labels();
    let mut seen = vec![0; labels.len()];
    let mut place = |label: u64| {
        seen[label as usize] += 1;
        seen[label as usize] - 1
    };
    let kept: Vec<bool> = labels.iter().map(|&label| keep(label, place(label))).collect();
    let count = kept.iter().filter(|&&kept| kept).count();
    for (file, descr, shape) in [("H.npy", "<f4", format!("({count}, 8)")), ("y.npy", "<i8", format!("({count},)"))] {
        let rows = network.rows(file, labels.len());
        let rows: Vec<Vec<u8>> = rows.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(row, _)| row).collect();
        fs::write(copy.folder.join(file), npy(descr, false, &shape, &bytes(&rows))).unwrap();
    }
    copy
}

/// Half of the samples of every class have the same residuals, and a penalty over half as many samples.
#[test]
fn a_part_of_the_samples_of_training_is_told_where_the_arrays_can() {
    // Other frequencies than those of training: 24 to 6.
    let uneven = subset(&Trained::new("penalized"), "question-uneven", |_, place| place < 6);
    let measured = uneven.measured();
    assert_eq!(measured["applies"], false);
    found(&measured, "the layers are not at rest under any of these losses");
    // With two classes every layer is at rest, but for its bias.
    let uneven = subset(&Trained::new("two"), "question-uneven-two", |_, place| place < 12);
    assert_eq!(uneven.measured()["applies"], false);
    // The same frequencies: nothing tells, unless the penalty is said to be that of all samples.
    let network = Trained::new("penalized");
    let half = subset(&network, "question-half", |label, place| place < [12, 9, 7, 5, 3][label as usize]);
    assert_eq!(half.measured()["applies"], true);
    let decay = number(&network.expected["feature_decay"]) * 2.0 / 5.0;
    let said = format!("--layer-decay 1e-2 --loss-convention mean --feature-decay {decay} --feature-convention total");
    assert_eq!(findings(&network.with(&said)), [""; 0]);
    let finding = found(&half.with(&said), "features: you say ");
    assert!(finding.contains("are these all samples of training? 50 % of each class would say this"), "{finding}");
}

#[test]
fn the_layers_of_a_product_are_counted() {
    let folder = small("question-product");
    let flags = "--weights W.npy --features H.npy --labels y.npy";
    let table = |flags: &str| String::from_utf8(run(flags, &folder).stdout).unwrap();
    assert!(table(flags).contains(", 1 linear layer, "));
    let product = table(&format!("{flags} --layers 2"));
    assert!(product.contains(", 2 linear layers, given as their product, "), "{product}");
    assert!(product.contains("of a product the geometric mean of the decays of its layers"), "{product}");
}

/// One layer is not taken for two, and a product not for one layer.
#[test]
fn a_wrong_number_of_layers_is_found_out() {
    let network = Trained::new("penalized");
    let two = network.decays.replace("--layer-decay 0.01", "--layer-decay 0.01 0.02");
    let measured = network.with(&two);
    let finding =
        found(&measured, "you say that the weights are the product of 2 layers; the arrays are at rest as one");
    assert!(finding.ends_with("give one --layer-decay, and no --layers"), "{finding}");
    assert_eq!(findings(&measured).len(), 1);
    assert_eq!(measured["applies"], false);
    assert!(!verdicts(&network.table(&two)).iter().any(has_verdict));

    let network = Trained::new("two-layers").copied("question-depth");
    let floats = |file: &str| -> Vec<f64> {
        let bytes = fs::read(network.folder.join(file)).unwrap()[128..].to_vec();
        bytes.chunks(4).map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()))).collect()
    };
    let (first, second) = (floats("W1.npy"), floats("W2.npy"));
    // 7 x 8 and 4 x 7.
    let entry = |i: usize, j: usize| (0..7).map(|k| second[7 * i + k] * first[8 * k + j]).sum::<f64>();
    let product: Vec<f64> = (0..32).map(|place| entry(place / 8, place % 8)).collect();
    fs::write(network.folder.join("W.npy"), npy("<f8", false, "(4, 8)", &doubles(&product))).unwrap();
    let flags = network.flags.replace("W1.npy W2.npy", "W.npy");
    let finding = found(&json(&flags, &network.folder), "the weights are not at rest as one layer (misfit 0.12)");
    assert!(finding.contains("as the product of 2 layers (misfit "), "{finding}");
    assert!(finding.contains("or with a --layer-decay for each"), "{finding}");
    let told = json(&format!("{flags} {}", network.decays), &network.folder);
    assert_eq!((findings(&told), &told["applies"]), (Vec::new(), &Value::Bool(true)));
    // 4e-3 and 6e-3 under MSELoss of four outputs, which is half of the theory's.
    let mean = 2.0 * (4e-3 * 6e-3_f64).sqrt();
    let implied = &told["implied"]["squared"];
    assert!((number(&implied["product_decay"]) / mean - 1.0).abs() <= 1e-3, "{implied}");
    assert!(number(&implied["product_misfit"]) <= 1e-3, "{implied}");
    // Of the decays that are said their geometric mean is tested, and no more.
    let said = |decays: String| json(&format!("{flags} {decays}"), &network.folder);
    let swapped = said(network.decays.replace("0.004,0.006", "0.003,0.008"));
    assert_eq!((findings(&swapped), &swapped["applies"]), (Vec::new(), &Value::Bool(true)));
    let start = "the layers, in the geometric mean: you say ";
    let other = said(network.decays.replace("0.004,0.006", "0.004,0.012"));
    assert!(found(&other, start).starts_with(&format!("{start}0.006928; the arrays say 0.0048")), "{other}");
    assert_eq!(other["applies"], false);
    let scaled = said(network.decays.replace("--loss-convention mean", "--loss-convention half-mean"));
    assert!(found(&scaled, start).contains(" under half-mean; the arrays say 0.0048"), "{scaled}");
}

/// Two layers and cross-entropy: no optimum is known.
#[test]
fn without_a_known_optimum_nothing_applies() {
    let network = Trained::new("two-entropy").copied("question-unknown");
    let rows = network.rows("W.npy", 2);
    // W = (1, -1)' w, but for rounding.
    fs::write(network.folder.join("W1.npy"), npy("<f4", false, "(1, 8)", &rows[0])).unwrap();
    fs::write(network.folder.join("W2.npy"), npy("<f8", false, "(2, 1)", &doubles(&[1.0, -1.0]))).unwrap();
    let flags = network.flags.replace("W.npy", "W1.npy W2.npy");
    let measured = json(&flags, &network.folder);
    assert_eq!(measured["implied"]["loss"], "cross-entropy");
    found(&measured, "the optimum is not known: ");
    assert_eq!(measured["applies"], false);
    let table = String::from_utf8(run(&flags, &network.folder).stdout).unwrap();
    assert!(table.contains("no verdicts: the optimum is not known"), "{table}");
}

#[test]
fn classes_of_one_sample_have_no_verdict_on_their_variability() {
    let folder = small("question-single");
    // The optimum of two classes of one sample, without a bias: W = H' = a I, and 1/2 (1 - a^2) a = decay a.
    let side = 0.98_f64.sqrt();
    let square = doubles(&[side, 0.0, 0.0, side]);
    for file in ["W.npy", "H.npy"] {
        fs::write(folder.join(file), npy("<f8", false, "(2, 2)", &square)).unwrap();
    }
    fs::write(folder.join("y.npy"), npy("|u1", false, "(2,)", &[0, 1])).unwrap();
    let flags = "--weights W.npy --features H.npy --labels y.npy --layer-decay 1e-2 --feature-decay 1e-2 \
                 --loss-convention half-sum --feature-convention total";
    let table = String::from_utf8(run(flags, &folder).stdout).unwrap();
    let verdicts = verdicts(&table);
    assert!(verdicts.iter().any(has_verdict), "{table}");
    for (name, verdict) in &verdicts {
        if name.starts_with("NC1") || name.starts_with("trace") || name.starts_with("CDNV") {
            assert_eq!(verdict, "-", "{table}");
        }
    }
}

#[test]
fn a_note_is_printed_once() {
    let folder = Trained::new("penalized");
    for flags in ["--bias-decay 0", &format!("--bias-decay 0 {}", folder.decays)] {
        let output = run(&format!("{} {flags}", folder.flags), &folder.folder);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors.matches("the bias is free, as without the flag").count(), 1, "{errors}");
    }
}

/// One format a column: points stand below each other.
#[test]
fn numbers_of_a_column_have_one_format() {
    let table = Trained::new("penalized").table("");
    let lines: Vec<&str> = table.lines().skip_while(|line| !line.starts_with("metric")).skip(1).collect();
    let lines = lines.iter().take_while(|line| !line.is_empty());
    let places = |line: &&str| -> Vec<usize> {
        let columns = [&line[26..39], &line[39..52]];
        columns.iter().filter_map(|cell| cell.find('.').map(|place| place + cell.len())).collect()
    };
    let all: Vec<usize> = lines.flat_map(places).collect();
    assert!(all.len() > 30 && all.iter().all(|place| *place == all[0]), "{table}");
    assert!(table.contains("half the squared error, summed over outputs"), "{table}");
}

/// By NumPy's definitions, from the stored arrays.
#[test]
fn json_has_groups_class_ranks_gram_matrices_and_frames() {
    for case in ["penalized", "collapsed", "relu"] {
        let network = Trained::new(case);
        let measured = network.measured();
        let expected = &network.expected["more"];
        let near = |path: &str, ours: &Value, table: &Value, rounding: f64| {
            let flat = |value: &Value| -> Vec<f64> { leaves(value) };
            let (ours, table) = (flat(ours), flat(table));
            assert_eq!(ours.len(), table.len(), "{case}, {path}");
            let size = table.iter().fold(1.0, |size: f64, number| size.max(number.abs()));
            let worst = ours.iter().zip(&table).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst <= rounding * size, "{case}, {path}: {worst}");
        };
        // Sums of at most a hundred products of float32, in f64.
        near("groups", &measured["accuracy_by_group"], &expected["accuracy_by_group"], 100.0 * f64::EPSILON);
        near("grams", &measured["gram_matrices"], &expected["gram_matrices"], 100.0 * f64::EPSILON);
        // Of vectors of norms from 0.1 on, for which their center is of order one.
        near("frames", &measured["frames"]["measured"], &expected["frames"], 1000.0 * f64::EPSILON);
        // Roots of eigenvalues of a Gram matrix, of width 8: those of rounding are read as zero up to sqrt(8 epsilon), and
        // each adds its p log p.
        let rounding = (8.0 * f64::EPSILON).sqrt();
        near(
            "ranks",
            &measured["class_effective_ranks"],
            &expected["class_effective_ranks"],
            -8.0 * rounding * rounding.ln(),
        );
    }
}

/// Of more classes Gram matrices are left out, unless the limit is raised.
#[test]
fn gram_matrices_have_a_limit_that_can_be_raised() {
    let network = Trained::new("penalized");
    assert!(network.with("--gram-classes 4")["gram_matrices"].is_null());
    let grams = network.with("--gram-classes 5")["gram_matrices"].clone();
    assert_eq!(grams, network.measured()["gram_matrices"]);
    assert_eq!(grams.as_object().unwrap().len(), 5);
    let message = refusal(&format!("{} --gram-classes 4", network.flags), &network.folder);
    assert!(message.contains("--json"), "{message}");
}

/// The two centers of class means are the same point for equal counts: then the table has one of them.
#[test]
fn the_table_has_both_centers_of_class_means() {
    let names = |case: &str| -> Vec<String> {
        verdicts(&Trained::new(case).table("")).into_iter().map(|(name, _)| name).collect()
    };
    let unweighted = |case: &str| names(case).iter().filter(|name| name.ends_with(", unweighted")).count();
    assert_eq!((unweighted("penalized"), unweighted("even")), (5, 0));
}

/// All numbers of a tree, keys in the order in which both sides write them.
fn leaves(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(entries) => entries.iter().flat_map(leaves).collect(),
        Value::Object(entries) => entries.values().flat_map(leaves).collect(),
        value => vec![number(value)],
    }
}
