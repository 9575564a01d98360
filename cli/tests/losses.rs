//! Losses on the command line: `predict` and `descend` with cross-entropy, class weights and adjusted logits.

mod program;

use std::process::Output;

use neural_collapse::{
    ClassCounts, ClassWeights, Layer, Loss, Targets, Ufm, WeightConvention, faer::Mat, linalg::dense_svd,
};
use program::program;
use serde_json::Value;

const MODEL: &str = "--counts 500x2,400,100x3,20x4 --widths 16 --layer-decay 5e-3 --feature-decay 5e-4";

fn run(subcommand: &str, arguments: &str) -> Output {
    program(subcommand, arguments).output().unwrap()
}

fn text(subcommand: &str, arguments: &str) -> String {
    let output = run(subcommand, arguments);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn predict(flags: &str) -> Value {
    serde_json::from_str(&text("predict", &format!("{MODEL} --json {flags}"))).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn ufm(smoothing: f64) -> Ufm {
    let counts: ClassCounts = "500x2,400,100x3,20x4".parse().unwrap();
    Ufm::new(Targets::smoothed(counts, smoothing).unwrap(), [Layer::new(16, 5e-3)], 5e-4).unwrap()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Every key of the closed form is there without one, and two more.
#[test]
fn json_has_the_same_keys_for_every_loss() {
    let (closed, certified) = (predict(""), predict("--loss cross-entropy"));
    assert_eq!([keys(&closed), vec!["logits", "logits_own"]].concat(), keys(&certified));
    assert_eq!(keys(&closed["groups"][0]), keys(&certified["groups"][0]));
    assert_eq!(keys(&closed["directions"][0]), keys(&certified["directions"][0]));
    assert_eq!(keys(&closed["limits"]), keys(&certified["limits"]));
    for key in ["count", "multiplicity", "weight", "fate", "probability_own", "probability_sibling"] {
        assert!(keys(&closed["groups"][0]).contains(&key), "{key}");
    }
    for key in ["classifier_norm", "mean_norm"] {
        assert!(number(&closed["groups"][0][key]) > 0.0 && number(&certified["groups"][0][key]) > 0.0, "{key}");
    }
    assert_eq!((&closed["loss"], &certified["loss"]), (&"squared".into(), &"cross-entropy".into()));
    // The closed form is exact.
    assert_eq!((&closed["lower_bound"], number(&closed["gap"])), (&closed["objective"], 0.0));
    let gap = (number(&certified["objective"]) - number(&certified["lower_bound"])) / number(&certified["objective"]);
    assert_eq!(number(&certified["gap"]), gap);
    assert!(gap < 1e-12, "{gap}");
    // What has no formula, or does not exist, is null.
    assert_eq!((&certified["directions"][0]["target"], &certified["limits"]["scale"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&certified["groups"][1]["probability_sibling"], &certified["logits"][1][1]),
        (&Value::Null, &Value::Null)
    );
    let multiplicities =
        certified["directions"].as_array().unwrap().iter().map(|at| at["multiplicity"].as_u64().unwrap());
    assert_eq!(multiplicities.sum::<u64>(), 10);
}

/// The closed form and the certified minimizer of the same problem: a free bias takes shifts of the logits.
#[test]
fn closed_and_certified_numbers_agree() {
    let (closed, certified) = (predict(""), predict("--logit-adjustment 0.5"));
    for (one, other) in closed["groups"].as_array().unwrap().iter().zip(certified["groups"].as_array().unwrap()) {
        assert_eq!((&one["fate"], &one["count"], &one["merged"]), (&other["fate"], &other["count"], &other["merged"]));
        for key in ["probability_own", "probability_sibling", "norm", "mean_norm"] {
            let both = (one[key].as_f64(), other[key].as_f64());
            // Numbers of the certified minimizer are right to about 1e-8: see its geometry.
            assert!(both == (None, None) || (both.0.unwrap() - both.1.unwrap()).abs() <= 1e-7, "{key}: {both:?}");
        }
        // The closed form knows in advance which groups vanish before their classes coincide.
        if let Some(scale) = one["coincidence_scale"].as_f64() {
            assert!((scale / number(&other["coincidence_scale"]) - 1.0).abs() < 1e-13);
        }
        assert_eq!(one["nearest"]["class"], other["nearest"]["class"]);
        assert!((number(&one["nearest"]["degrees"]) - number(&other["nearest"]["degrees"])).abs() < 1e-4);
    }
    assert_eq!((&closed["clusters"], &closed["rank"]), (&certified["clusters"], &certified["rank"]));
    assert!((number(&closed["objective"]) / number(&certified["objective"]) - 1.0).abs() < 1e-12);
}

/// What the JSON says of a sample of group `s`: its probabilities, class by class, with classes in the order of groups.
fn probabilities(object: &Value, s: usize) -> Vec<f64> {
    let groups = object["groups"].as_array().unwrap();
    let multiplicity = |r: usize| usize::try_from(groups[r]["multiplicity"].as_u64().unwrap()).unwrap();
    let own = number(&object["logits_own"][s]);
    let mut logits = Vec::new();
    for r in 0..groups.len() {
        let others = multiplicity(r) - usize::from(r == s);
        // The first class of its group is the own one.
        logits.extend((r == s).then_some(own));
        logits.extend((0..others).map(|_| number(&object["logits"][r][s])));
    }
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f64 = exponentials.iter().sum();
    exponentials.iter().map(|exponential| exponential / total).collect()
}

/// The objective from logits and norms, and the bound from probabilities, as the help of `predict` has them. Whether it is
/// one, ‖E‖ ≤ λ, is asked of all classes.
#[test]
fn bounds_can_be_checked_from_the_json_alone() {
    let lambda = (5e-3_f64 * 5e-4).sqrt();
    for (flags, smoothing, bias_decay) in [
        ("", 0.0, None),
        ("--no-bias", 0.0, None),
        ("--class-weights inverse-root", 0.0, None),
        ("--class-weights inverse --no-bias --label-smoothing 0.1", 0.1, None),
        ("--bias-decay 0.01 --label-smoothing 0.2", 0.2, Some(0.01)),
    ] {
        let object = predict(&format!("--loss cross-entropy {flags}"));
        let groups = object["groups"].as_array().unwrap();
        let of = |group: &Value, key: &str| number(&group[key]);
        // (first class, group) of every class, in the order of groups.
        let mut classes = Vec::new();
        for (s, group) in groups.iter().enumerate() {
            let first = classes.len();
            classes.extend((0..group["multiplicity"].as_u64().unwrap()).map(|_| (first, s)));
        }
        let count = classes.len();
        let (mut objective, mut bound, mut residual) = (0.0, 0.0, Mat::<f64>::zeros(count, count));
        for (k, &(first, s)) in classes.iter().enumerate() {
            let (group, n) = (&groups[s], of(&groups[s], "count"));
            let weight = of(group, "weight") * n / number(&object["samples"]);
            let mut p = probabilities(&object, s);
            // The own class is class k here, not the first of its group.
            p.swap(first, k);
            for (i, p) in p.iter().enumerate() {
                let target = smoothing / count as f64 + if i == k { 1.0 - smoothing } else { 0.0 };
                objective -= weight * target * p.ln();
                bound -= weight * p * p.ln();
                residual[(i, k)] = (target - p) * weight / n.sqrt();
            }
            objective +=
                0.5 * 5e-3 * of(group, "classifier_norm").powi(2) + 0.5 * 5e-4 * n * of(group, "mean_norm").powi(2);
            if let Some(decay) = bias_decay {
                objective += 0.5 * decay * of(group, "bias").powi(2);
            }
        }
        // (P - Y) w, which is zero for a free bias.
        let pull = |i: usize| -> f64 {
            classes.iter().enumerate().map(|(k, &(_, s))| -residual[(i, k)] * of(&groups[s], "count").sqrt()).sum()
        };
        if let Some(decay) = bias_decay {
            bound -= (0..count).map(|i| pull(i).powi(2)).sum::<f64>() / (2.0 * decay);
        } else if !flags.contains("no-bias") {
            assert!((0..count).all(|i| pull(i).abs() < 1e-12), "{flags}");
        }
        // Logits are right to about 1e-8, and the objective to the square of that.
        assert!((objective / number(&object["objective"]) - 1.0).abs() < 1e-12, "{flags}: {objective}");
        assert!((bound / number(&object["lower_bound"]) - 1.0).abs() < 1e-9, "{flags}: {bound}");
        assert!(dense_svd(residual.as_ref()).unwrap().values[0] < lambda * (1.0 + 1e-9), "{flags}");
    }
}

/// Features that may not be negative: a closed form, or an interval, and an objective that its own numbers give.
#[test]
fn nonnegative_features_have_a_closed_form_or_an_interval() {
    for loss in ["squared", "cross-entropy"] {
        for flags in ["--no-bias", "--no-bias --class-weights inverse-root", "", "--bias-decay 0.1"] {
            let model = format!(
                "--counts 50,20,8x2 --widths 16 --layer-decay 0.02 --feature-decay 0.003 --loss {loss} {flags}"
            );
            let table = text("predict", &format!("{model} --nonnegative-features"));
            let object: Value =
                serde_json::from_str(&text("predict", &format!("{model} --nonnegative-features --json"))).unwrap();
            let (objective, bound) = (number(&object["objective"]), number(&object["lower_bound"]));
            assert!(bound <= objective * (1.0 + 1e-12), "{model}");
            let is_closed = flags.contains("--no-bias");
            if is_closed {
                assert_eq!((number(&object["gap"]), &object["unique"]), (0.0, &Value::Bool(true)), "{model}");
            }
            assert_eq!(table.contains("minimum      "), object["unique"] == true, "{table}");
            assert_eq!(table.contains("`neural-collapse descend --collapsed`"), object["unique"].is_null(), "{table}");
            if loss == "squared" {
                continue;
            }
            let groups = object["groups"].as_array().unwrap();
            let mut again = 0.0;
            for group in groups {
                let of = |key: &str| number(&group[key]);
                let weight = of("weight") * of("multiplicity") * of("count") / 86.0;
                let norms = 0.01 * of("classifier_norm").powi(2) + 0.0015 * of("count") * of("mean_norm").powi(2);
                again += of("multiplicity") * norms - weight * of("probability_own").ln();
                again += group["bias"]
                    .as_f64()
                    .filter(|_| flags.contains("decay"))
                    .map_or(0.0, |b| of("multiplicity") * 0.05 * b * b);
            }
            assert!((again / objective - 1.0).abs() < 1e-12, "{model}: {again}");
        }
    }
}

/// From the JSON alone: the own probability is the softmax of the logits, and the law of contrasts holds.
#[test]
fn certificates_can_be_checked_from_the_json_alone() {
    for (flags, smoothing) in [
        ("", 0.0),
        ("--class-weights inverse-root", 0.0),
        ("--class-weights inverse --no-bias", 0.0),
        ("--class-weights effective:0.99 --label-smoothing 0.1", 0.1),
        ("--class-weights 2,1,3x4,0.5x4 --bias-decay 0.01", 0.0),
    ] {
        let object = predict(&format!("--loss cross-entropy {flags}"));
        let groups = object["groups"].as_array().unwrap();
        let samples = number(&object["samples"]);
        let lambda = (5e-3_f64 * 5e-4).sqrt();
        for (s, group) in groups.iter().enumerate() {
            let own = number(&object["logits_own"][s]);
            let (mut rest, mut sibling) = (0.0, None);
            for (r, other) in groups.iter().enumerate() {
                let classes = number(&other["multiplicity"]) - f64::from(u8::from(r == s));
                if classes > 0.0 {
                    // Next to the own logit: nothing overflows.
                    let ratio = (number(&object["logits"][r][s]) - own).exp();
                    rest += classes * ratio;
                    sibling = if r == s { Some(ratio) } else { sibling };
                }
            }
            let probability = number(&group["probability_own"]);
            assert!((1.0 / (1.0 + rest) - probability).abs() < 1e-10, "{flags}: {probability}");
            let Some(sibling) = sibling else {
                assert_eq!((number(&group["multiplicity"]), &group["probability_sibling"]), (1.0, &Value::Null));
                continue;
            };
            let contrast = probability - number(&group["probability_sibling"]);
            assert!((probability - sibling / (1.0 + rest) - contrast).abs() < 1e-10, "{flags}");
            let pull = number(&group["weight"]) * number(&group["count"]).sqrt() * (1.0 - smoothing);
            let q = samples * lambda / pull;
            let expected = (1.0 - smoothing) * (1.0 - q).max(0.0);
            assert!((contrast - expected).abs() < 1e-10, "{flags}, group {s}: {contrast} is not {expected}");
            assert_eq!(group["fate"] == "distinct", q < 1.0, "{flags}, group {s}");
            // The factor on all decays at which it collapses.
            assert!((number(&group["coincidence_scale"]) * q - 1.0).abs() < 1e-14, "{flags}");
        }
        assert!(number(&object["gap"]).abs() < 1e-12, "{flags}");
    }
}

/// Each flag is what the library calls by that name.
#[test]
fn every_flag_is_the_library_s() {
    let cross_entropy = |smoothing: f64| ufm(smoothing).with_loss(Loss::CrossEntropy).unwrap();
    let given = vec![1.0, 2.0, 0.5, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0];
    let pytorch = WeightConvention::Weights
        .class_weights(&ClassWeights::Given(given.clone()), cross_entropy(0.0).class_counts().unwrap())
        .unwrap();
    let weighted = |ufm: Ufm, weights: Vec<f64>| ufm.with_class_weights(ClassWeights::Given(weights)).unwrap();
    for (flags, expected) in [
        ("--loss cross-entropy", cross_entropy(0.0)),
        ("--loss cross-entropy --no-bias", cross_entropy(0.0).without_bias()),
        ("--loss cross-entropy --bias-decay 0.02", cross_entropy(0.0).with_bias_decay(0.02).unwrap()),
        ("--loss cross-entropy --label-smoothing 0.2", cross_entropy(0.2)),
        ("--loss cross-entropy --logit-adjustment 1 --no-bias", {
            cross_entropy(0.0).without_bias().with_logit_adjustment(1.0).unwrap()
        }),
        ("--loss cross-entropy --ldam 0.5", cross_entropy(0.0).with_ldam(0.5).unwrap()),
        ("--loss cross-entropy --cdt 0.3", cross_entropy(0.0).with_cdt(0.3).unwrap()),
        ("--loss cross-entropy --class-weights 1,2,0.5,3x3,1x4", weighted(cross_entropy(0.0), given.clone())),
        (
            "--loss cross-entropy --weight-convention weights --class-weights 1,2,0.5,3x3,1x4",
            weighted(cross_entropy(0.0), pytorch),
        ),
        ("--class-weights inverse", ufm(0.0).with_class_weights(ClassWeights::Inverse).unwrap()),
        ("--label-smoothing 0.1 --no-bias", ufm(0.1).without_bias()),
        // MSELoss: a decay of a layer that is 2/10 of it here.
        (
            "--loss-convention mean --class-weights inverse --bias-decay 0.002 --layer-decay 1e-3 --feature-decay 1e-4",
            ufm(0.0).with_class_weights(ClassWeights::Inverse).unwrap().with_bias_decay(0.01).unwrap(),
        ),
    ] {
        let base = if flags.contains("--layer-decay") { "--counts 500x2,400,100x3,20x4 --widths 16" } else { MODEL };
        let object: Value = serde_json::from_str(&text("predict", &format!("{base} --json {flags}"))).unwrap();
        let minimizer = expected.certified_minimizer().unwrap();
        let objective = number(&object["objective"]);
        // Decays that are converted round.
        assert!((objective / minimizer.objective() - 1.0).abs() <= 1e-13, "{flags}: {objective}");
        let fates: Vec<_> = minimizer.group_fates().iter().map(|fate| fate.name()).collect();
        let groups = object["groups"].as_array().unwrap();
        assert_eq!(groups.iter().map(|group| group["fate"].as_str().unwrap()).collect::<Vec<_>>(), fates, "{flags}");
    }
}

#[test]
fn equal_counts_with_other_weights_are_other_groups() {
    let object = predict("--loss cross-entropy --class-weights 1,2,1,1x3,1,1,3,3");
    let groups: Vec<_> = object["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            (group["count"].as_u64().unwrap(), group["multiplicity"].as_u64().unwrap(), number(&group["weight"]))
        })
        .collect();
    assert_eq!(groups, [(500, 1, 1.0), (500, 1, 2.0), (400, 1, 1.0), (100, 3, 1.0), (20, 2, 1.0), (20, 2, 3.0)]);
    // N = 1780; λ_W at q = 1 is 0.0126 for a weight of 1, and 0.114 for one of 3.
    let model = MODEL.replace("5e-3", "5e-2");
    let table = text("predict", &format!("{model} --loss cross-entropy --class-weights 1,2,1,1x3,1,1,3,3"));
    assert!(table.contains("2 classes of 20 samples and weight 1.000000 share one classifier"), "{table}");
}

#[test]
fn the_table_says_what_collapses_and_what_the_next_decay_does() {
    let table = text("predict", &format!("{MODEL} --loss cross-entropy"));
    // N = 1780; λ_W at q = 1 is n/(N² λ_H): 20 samples below, 100 above 5e-3.
    let at = |count: f64| count / (1780.0 * 1780.0 * 5e-4);
    assert!(at(20.0) > 5e-3, "twenty samples are still apart");
    let flags = "--counts 500x2,400,100x3,20x4 --widths 16 --feature-decay 5e-4 --loss cross-entropy";
    let collapsed = text("predict", &format!("{flags} --layer-decay 0.02"));
    assert!(collapsed.contains("collapsed            4 classes of 20 samples share one classifier\n"), "{collapsed}");
    let next = format!("next to collapse     3 classes of 100 samples: from a decay of the layer of {:.6}", at(100.0));
    assert!(collapsed.contains(&next), "{collapsed}");
    let back = format!("first to come apart  4 classes of 20 samples: below a decay of the layer of {:.6}", at(20.0));
    assert!(collapsed.contains(&back), "{collapsed}");
    assert!(collapsed.contains("one for all (collapsed)") && collapsed.contains("lower bound  "), "{collapsed}");
    assert!(
        table.contains("none: no classes share a classifier") && table.contains("loss: cross-entropy\n"),
        "{table}"
    );
    // On both sides of the decay that is told.
    for (factor, fate) in [(0.9999, "distinct"), (1.0001, "coincident")] {
        let decay = at(100.0) * factor;
        let object: Value =
            serde_json::from_str(&text("predict", &format!("{flags} --layer-decay {decay:e} --json"))).unwrap();
        assert_eq!(object["groups"][2]["fate"], fate);
    }
    let margins = text("predict", &format!("{MODEL} --loss cross-entropy --ldam 0.5"));
    assert!(margins.contains("with margins no formula says at which decay"), "{margins}");
}

/// Squared loss with margins has its threshold at q = 1 + m/(1-ε).
#[test]
fn margins_of_the_squared_loss_move_the_threshold() {
    let flags = "--counts 100x3,20x4 --widths 16 --feature-decay 5e-4 --layer-decay 5e-3 --ldam 0.5 --label-smoothing 0.1 --json";
    let object: Value = serde_json::from_str(&text("predict", flags)).unwrap();
    let scale = number(&object["groups"][1]["coincidence_scale"]);
    for (factor, fate) in [(0.999, "distinct"), (1.001, "coincident")] {
        // All decays together.
        let [layer, features] = [5e-3, 5e-4].map(|decay| decay * scale * factor);
        let flags = format!(
            "--counts 100x3,20x4 --widths 16 --layer-decay {layer:e} --feature-decay {features:e} --ldam 0.5 \
             --label-smoothing 0.1 --json"
        );
        let object: Value = serde_json::from_str(&text("predict", &flags)).unwrap();
        assert_eq!(object["groups"][1]["fate"], fate, "{factor}");
    }
}

#[test]
fn weights_of_one_and_adjustments_of_zero_change_nothing() {
    let neutral = "--class-weights 1x10 --label-smoothing 0 --logit-adjustment 0 --ldam 0 --cdt 0";
    assert_eq!(predict(neutral), predict(""));
    assert_eq!(predict(&format!("--loss cross-entropy {neutral}")), predict("--loss cross-entropy"));
    // Rules have mean 1 over samples, and frameworks that divide by the weights cannot tell a factor.
    let rule = predict("--loss cross-entropy --class-weights inverse");
    let divided = predict("--loss cross-entropy --weight-convention weights --class-weights 4x2,5,20x3,100x4");
    assert!((number(&rule["objective"]) / number(&divided["objective"]) - 1.0).abs() < 1e-14);
}

#[test]
fn a_free_bias_is_said() {
    let output = run("predict", &format!("{MODEL} --json --bias-decay 0"));
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("note: --bias-decay 0: the bias is free"));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), predict(""));
    assert!(run("predict", &format!("{MODEL} --bias-decay 1e-3")).stderr.is_empty());
}

#[test]
fn mistakes_are_explained() {
    for (flags, explanation) in [
        ("--class-weights 0,1x9", "--class-weights: class weights: 0.0 given for class 0"),
        ("--class-weights 1x9,-1", "-1.0 given for class 9"),
        ("--class-weights -1,1x9", "-1.0 given for class 0"),
        ("--class-weights 1,nan,1x8", "NaN given for class 1"),
        ("--class-weights 1,inf,1x8", "inf given for class 1"),
        ("--class-weights 1,2,3", "--class-weights: class weights: 3 given, one for each of 10 classes"),
        ("--class-weights 1x11", "11 given, one for each of 10"),
        ("--class-weights balanced", "entry 0 (counted from 0) is \"balanced\", accepted are none, inverse"),
        ("--class-weights 1,2x0", "entry 1"),
        ("--class-weights effective:1", "--class-weights: effective number of samples, beta: 1.0 given"),
        ("--class-weights effective:nan", "NaN given"),
        ("--class-weights effective:x", "effective:x"),
        ("--label-smoothing 1", "--label-smoothing: label smoothing: 1.0 given, accepted: 0 <= smoothing < 1"),
        ("--label-smoothing -0.1", "-0.1 given"),
        ("--label-smoothing nan", "NaN given"),
        ("--ldam -1", "--ldam: margins: -"),
        ("--ldam nan", "--ldam"),
        ("--cdt 1000", "--cdt: scales of logits: 0.0 given for class"),
        ("--cdt -1000", "--cdt: scales of logits: inf given for class"),
        ("--logit-adjustment inf", "--logit-adjustment: shifts of logits: -inf given for class 0"),
        ("--bias-decay -1", "--bias-decay: "),
        ("--bias-decay inf", "--bias-decay: "),
        ("--bias-decay 1 --no-bias", "cannot be used with"),
        ("--loss hinge", "hinge"),
        ("--weight-convention sum", "--weight-convention"),
        (
            "--loss cross-entropy --loss-convention mean",
            "--loss-convention: mean given, which scales the squared error",
        ),
        ("--loss cross-entropy --loss-convention sum", "leave --loss-convention out"),
    ] {
        for subcommand in ["predict", "descend"] {
            let output = run(subcommand, &format!("{MODEL} {flags}"));
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{subcommand} {flags}: {message}");
            assert!(message.contains(explanation) && message.starts_with("error"), "{flags}: {message}");
            assert!(output.stdout.is_empty() && !message.contains("panicked"), "{flags}: {message}");
        }
    }
    assert!(run("predict", &format!("{MODEL} --loss cross-entropy --loss-convention half-sum")).status.success());
}

#[test]
fn what_has_no_certificate_names_the_descent() {
    for (flags, why) in [
        ("--loss cross-entropy --layers 2", "two or more layers"),
        ("--class-weights inverse --layers 2", "two or more layers"),
        ("--nonnegative-features --layers 2", "two or more layers"),
        ("--loss cross-entropy --widths 3", "--widths: layers: the width d_1 is 3, but the minimizer has rank 9"),
    ] {
        let model = if flags.contains("--widths") { MODEL.replace("--widths 16", "") } else { MODEL.into() };
        let output = run("predict", &format!("{model} {flags}"));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{flags}: {message}");
        assert!(message.contains(why) && message.contains("neural-collapse descend"), "{flags}: {message}");
        assert!(output.stdout.is_empty());
    }
}

/// Weights and adjustments beyond the range of double precision: a proof, or a refusal.
#[test]
fn gaps_that_are_not_reached_are_not_called_minima() {
    for flags in [
        "--class-weights 1e300,1x9",
        "--class-weights 1e-300,1x9",
        "--class-weights 1e200x10",
        "--class-weights 1e-6x9,1e6",
        "--ldam 1e308",
        "--ldam 1e5",
        "--ldam 30",
        "--cdt 100",
        "--logit-adjustment 1e300 --no-bias",
        "--bias-decay 1e-300",
        "--bias-decay 1e300",
    ] {
        for loss in ["squared", "cross-entropy"] {
            let flags = format!("{MODEL} --json --loss {loss} {flags}");
            let output = run("predict", &flags);
            let message = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                let object: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert!(number(&object["gap"]).abs() <= 1e-6, "{flags}: {}", object["gap"]);
            } else {
                assert_eq!(output.status.code(), Some(2), "{flags}: {message}");
                assert!(message.contains("too large, too small or too far apart"), "{flags}: {message}");
                assert!(message.contains("neural-collapse descend"), "{flags}: {message}");
            }
        }
    }
}

/// S is diagonal: s_k = max(√n - N λ/α, 0), and a class vanishes by itself.
#[test]
fn weighted_squared_loss_without_a_bias_has_its_closed_form() {
    let counts: [(f64, usize, f64); 4] = [(500.0, 2, 0.5), (400.0, 1, 1.0), (100.0, 3, 0.1), (20.0, 4, 3.0)];
    let object = predict("--no-bias --class-weights 0.5x2,1,0.1x3,3x4");
    let pull = 1780.0 * (5e-3_f64 * 5e-4).sqrt();
    let mut expected: Vec<(f64, usize)> = counts.map(|(n, m, a)| ((n.sqrt() - pull / a).max(0.0), m)).into();
    expected.sort_by(|one, other| other.0.total_cmp(&one.0));
    assert_eq!(expected[3].0, 0.0, "one group has vanished");
    let found: Vec<_> = object["directions"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|direction| {
            let times = direction["multiplicity"].as_u64().unwrap();
            (0..times).map(|_| number(&direction["prediction"]))
        })
        .collect();
    let expected: Vec<f64> = expected.into_iter().flat_map(|(value, m)| std::iter::repeat_n(value, m)).collect();
    assert_eq!(found.len(), expected.len());
    for (one, other) in found.iter().zip(expected) {
        assert!((one - other).abs() < 1e-8, "{one} is not {other}");
    }
    for (group, (n, _, a)) in object["groups"].as_array().unwrap().iter().zip(counts) {
        let q = pull / (a * n.sqrt());
        assert_eq!(group["fate"], if q < 1.0 { "distinct" } else { "vanished" });
        assert!((number(&group["vanishing_scale"]) * q - 1.0).abs() < 1e-14);
        assert_eq!(group["coincidence_scale"], Value::Null);
    }
}

#[test]
fn help_teaches_losses() {
    for subcommand in ["predict", "descend"] {
        let help = text(subcommand, "--help");
        for word in ["--class-weights", "effective:BETA", "--loss cross-entropy", "PyTorch", "--nonnegative-features"] {
            assert!(help.contains(word), "{subcommand}: {word}");
        }
        // Flags of the program itself are not under the heading of the loss.
        let heading = help.find("Loss:").unwrap();
        assert!(heading < help.find("--loss <LOSS>").unwrap() && help.find("--json").unwrap() < heading);
    }
    let help = text("predict", "--help");
    for word in ["lower_bound", "logits_own", "for the closed form 0", "exp(logits_own[s])"] {
        assert!(help.contains(word), "{word}");
    }
    // Examples are commands as they stand, not broken at the width of a page.
    assert!(help.contains("--layer-decay 5e-3 \\\n    --feature-decay 5e-4"), "{help}");
}

#[test]
fn descents_reach_the_certified_minimum() {
    const SMALL: &str = "--counts 30x2,10,4x2 --widths 8 --layer-decay 5e-3 --feature-decay 2e-3 --json";
    for flags in [
        "--loss cross-entropy --collapsed --method lbfgs",
        "--loss cross-entropy --class-weights inverse-root --method lbfgs",
        "--class-weights inverse --bias-decay 0.1 --collapsed --method lbfgs",
        // Without a bias orthogonal class means are the best, in closed form.
        "--nonnegative-features --no-bias",
    ] {
        let object: Value = serde_json::from_str(&text("descend", &format!("{SMALL} {flags}"))).unwrap();
        assert_eq!((&object["stop"], &object["ending"]), (&"gap".into(), &"global minimum".into()), "{flags}");
        assert!(number(&object["gap"]) <= 1e-10 && number(&object["objective"]) > 0.0, "{flags}");
        assert_eq!((&object["distance"], &object["nc3"]["product"]), (&Value::Null, &Value::Null));
    }
    // No certificate, no gap. With a bias these orthogonal class means are not proved to be the best.
    for flags in ["--loss cross-entropy --layers 2 --collapsed --method lbfgs", "--nonnegative-features"] {
        let object: Value = serde_json::from_str(&text("descend", &format!("{SMALL} {flags}"))).unwrap();
        for key in ["optimum", "gap", "rank", "unique"] {
            assert_eq!(object[key], Value::Null, "{flags}");
        }
        assert!(number(&object["objective"]) > 0.0);
    }
    let table = text("descend", &format!("{} --nonnegative-features", SMALL.replace(" --json", "")));
    assert!(table.contains("not known: between ") && !table.contains("relative gap"), "{table}");
    let table =
        text("descend", &format!("{} --loss cross-entropy --layers 2 --collapsed", SMALL.replace(" --json", "")));
    assert!(table.contains("not known: model: there is no certificate") && !table.contains("relative gap"), "{table}");
}
