//! Saved forms of gradients in the making: what one process has gathered another one goes on with, to the same bits.

#![cfg(feature = "serde")]

use neural_collapse::{
    ClassCounts, ClassWeights, Layer, Loss, Parameters, Ufm,
    faer::{Col, Mat},
    metrics::{ClassRanks, FeatureAccumulator, GradientAccumulator, NearestCenter},
};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use serde_json::{Value, json};

const COUNTS: [u64; 3] = [40, 20, 10];

fn models() -> Vec<Ufm> {
    let squared =
        Ufm::new(ClassCounts::new(COUNTS).unwrap(), [Layer::new(5, 1e-2), Layer::new(4, 1e-2)], 1e-3).unwrap();
    let entropy = squared.clone().with_loss(Loss::CrossEntropy).unwrap();
    let weighted = entropy.clone().with_class_weights(ClassWeights::Inverse).unwrap();
    vec![squared, entropy, weighted]
}

fn network() -> Parameters {
    Parameters::gaussian(&models()[0], 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(3)).unwrap()
}

fn labels() -> Vec<usize> {
    (0..3).flat_map(|class| vec![class; usize::try_from(COUNTS[class]).unwrap()]).collect()
}

fn empty(with_decisions: bool) -> GradientAccumulator {
    let (weights, features, bias) = network().into_parts();
    let product = &weights[1] * &weights[0];
    let mut statistics = FeatureAccumulator::new(5, 3).unwrap();
    statistics.add(features.as_ref(), &labels()).unwrap();
    let rules = NearestCenter::new(product.as_ref(), bias.as_ref().map(Col::as_ref), &statistics.finish()).unwrap();
    let pass = GradientAccumulator::new(models(), weights, bias).unwrap();
    if with_decisions { pass.with_decisions(rules).unwrap() } else { pass }
}

/// The samples in two shards.
fn shards() -> [(Mat<f64>, Vec<usize>); 2] {
    let (features, labels) = (network().features().to_owned(), labels());
    let shard = |parity: usize| {
        let own: Vec<usize> = (0..labels.len()).filter(|sample| sample % 2 == parity).collect();
        let columns = Mat::from_fn(5, own.len(), |i, j| features[(i, own[j])]);
        (columns, own.iter().map(|&sample| labels[sample]).collect())
    };
    [shard(0), shard(1)]
}

fn gather(mut pass: GradientAccumulator, shard: &(Mat<f64>, Vec<usize>)) -> GradientAccumulator {
    pass.add(shard.0.as_ref(), &shard.1).unwrap();
    pass
}

fn through_bytes(pass: &GradientAccumulator) -> [GradientAccumulator; 2] {
    let mut bytes = Vec::new();
    ciborium::into_writer(pass, &mut bytes).unwrap();
    let json = serde_json::to_vec(pass).unwrap();
    [serde_json::from_slice(&json).unwrap(), ciborium::from_reader(bytes.as_slice()).unwrap()]
}

/// Every bit of what a pass leaves; debug output shows all of a float.
fn result(pass: GradientAccumulator) -> String {
    let (gradients, decisions) = pass.finish_with_decisions().unwrap();
    let decays: Vec<_> = gradients.iter().map(|gradient| gradient.implied_decays().unwrap()).collect();
    format!("{gradients:?} {decays:?} {decisions:?}")
}

#[test]
fn saved_gradients_go_on_to_the_same_bits() {
    let shards = shards();
    for with_decisions in [false, true] {
        let unbroken = result(gather(gather(empty(with_decisions), &shards[0]), &shards[1]));
        let half = gather(empty(with_decisions), &shards[0]);
        for read in through_bytes(&half) {
            assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&half).unwrap());
            assert_eq!(result(gather(read, &shards[1])), unbroken);
        }
        for read in through_bytes(&empty(with_decisions)) {
            assert_eq!(result(gather(gather(read, &shards[0]), &shards[1])), unbroken);
        }
    }
}

#[test]
fn shards_that_went_through_bytes_merge_as_those_that_did_not() {
    let shards = shards();
    for with_decisions in [false, true] {
        let each = || [0, 1].map(|shard| gather(empty(with_decisions), &shards[shard]));
        let [mut one, other] = each();
        one.merge(other).unwrap();
        let expected = result(one);
        let [one, other] = each();
        for (mut one, other) in through_bytes(&one).into_iter().zip(through_bytes(&other)) {
            one.merge(other).unwrap();
            assert_eq!(result(one), expected);
        }
    }
}

#[test]
fn gradients_that_cannot_be_are_not_read() {
    let saved = serde_json::to_value(gather(empty(true), &shards()[0])).unwrap();
    let with = |place: &str, new: Value| {
        let mut value = saved.clone();
        *value.pointer_mut(place).unwrap() = new;
        value
    };
    let parts = saved["parts"].as_array().unwrap();
    let cases = [
        (with("/version", json!(9)), "version 9"),
        (with("/models", json!([])), "gradient: "),
        (with("/bias", Value::Null), "gradient: "),
        (with("/product/numbers/0", json!(17.0)), "the product is not that of the layers"),
        (with("/product", json!({"rows": 1, "cols": 1, "numbers": [1.0]})), "1 x 1 given, 3 x 5 is needed"),
        (with("/weights/0/numbers/0", json!(17.0)), "the product is not that of the layers"),
        (with("/parts", json!(parts[1..])), "parts given, 8 are needed"),
        (with("/parts/0/counts", json!([1])), "1 counts given, 3 are needed"),
        (with("/parts/0/counts/0", json!(1_u64 << 60)), "more than 2^53"),
        (with("/parts/0/sums/0/pulls", json!([1.0])), "1 pulls given, 4 are needed"),
        (with("/parts/0/sums/0/residual", json!(-1.0)), "finite numbers >= 0"),
        (with("/parts/0/sums/0/loss", json!("NaN")), "finite numbers >= 0"),
        (with("/parts/0/sums/1/outer", json!({"rows": 1, "cols": 1, "numbers": [1.0]})), "1 x 1 given"),
        (with("/parts/0/square", json!(-1.0)), "finite numbers >= 0"),
        (with("/decisions/version", json!(2)), "version 2"),
        (with("/decisions/classifiers/numbers/0", json!(17.0)), "gradient: "),
    ];
    for (value, message) in cases {
        let error = serde_json::from_value::<GradientAccumulator>(value).unwrap_err().to_string();
        assert!(error.contains(message), "{error} should contain {message}");
    }
}

/// Not saved, and deterministic: ranks of classes from batches of any size.
#[test]
fn class_ranks_count_the_first_samples_of_each_class() {
    let (features, labels) = (network().features().to_owned(), labels());
    let ranks = |most: usize, size: usize| {
        let mut ranks = ClassRanks::new(5, 3, most).unwrap();
        for start in (0..labels.len()).step_by(size) {
            let stop = labels.len().min(start + size);
            ranks.add(features.subcols(start, stop - start), &labels[start..stop]).unwrap();
        }
        ranks.finish().unwrap()
    };
    // One sample has one direction; the roots of what rounding leaves count as zero.
    for rank in ranks(1, 7) {
        assert!((rank.unwrap() - 1.0).abs() < 1e-12);
    }
    let (all, batches) = (ranks(1000, 1000), ranks(1000, 7));
    for (one, other) in all.iter().zip(&batches) {
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one > 2.0 && one <= 5.0, "{one}");
        // Sums of at most forty products in another order; well-conditioned.
        assert!((one - other).abs() <= 1e3 * f64::EPSILON, "{one} {other}");
    }
}
