//! Formats that people have are read exactly; what cannot be meant is refused, with the way out.

#[path = "program/measure.rs"]
mod measure;
mod program;

use std::{fs, path::Path};

use measure::{FEATURES, FLAGS, WEIGHTS, check, doubles, json, npy, refusal, small, tensors};

/// Numbers of at most three binary digits, which even eight bits hold exactly.
const COARSE: [f64; 10] = [0.5, 0.125, 0.625, 0.0, -0.5, 0.125, -0.375, 0.125, -0.5, 0.0];

/// The upper bits of a number that has no others.
fn bits(value: f64, exponent_bits: u32, fraction_bits: u32) -> u64 {
    if value == 0.0 {
        return 0;
    }
    let exponent = value.abs().log2().floor();
    let fraction = (value.abs() / exponent.exp2() - 1.0) * f64::from(fraction_bits).exp2();
    assert_eq!(fraction.fract(), 0.0);
    let biased = exponent + f64::from(exponent_bits - 1).exp2() - 1.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rest = (biased as u64) << fraction_bits | fraction as u64;
    u64::from(value < 0.0) << (exponent_bits + fraction_bits) | rest
}

fn words(values: &[f64], bytes: usize, exponent_bits: u32, big_endian: bool) -> Vec<u8> {
    let fraction_bits = u32::try_from(8 * bytes).unwrap() - 1 - exponent_bits;
    let word = |value: &f64| {
        let mut word = bits(*value, exponent_bits, fraction_bits).to_le_bytes()[..bytes].to_vec();
        if big_endian {
            word.reverse();
        }
        word
    };
    values.iter().flat_map(word).collect()
}

#[test]
fn floats_of_sixteen_and_eight_bits_are_the_numbers_that_they_stand_for() {
    let folder = small("narrow");
    fs::write(folder.join("H.npy"), npy("<f8", false, "(5, 2)", &doubles(&COARSE))).unwrap();
    fs::write(folder.join("W.npy"), npy("<f8", false, "(2, 2)", &doubles(&COARSE[..4]))).unwrap();
    let expected = json(FLAGS, &folder);
    let columns: Vec<f64> = (0..2).flat_map(|col| (0..5).map(move |row| COARSE[2 * row + col])).collect();
    let types = [
        ("<f2", 2, 5),
        (">f2", 2, 5),
        ("<V2", 2, 8),
        (">V2", 2, 8),
        ("float16", 2, 5),
        ("bfloat16", 2, 8),
        ("<f4", 4, 8),
    ];
    for (descr, bytes, exponent_bits) in types {
        let big = descr.starts_with('>');
        for (fortran, numbers) in [(false, &COARSE[..]), (true, &columns[..])] {
            let data = words(numbers, bytes, exponent_bits, big);
            fs::write(folder.join("H.npy"), npy(descr, fortran, "(5, 2)", &data)).unwrap();
            assert_eq!(json(FLAGS, &folder), expected, "{descr}, Fortran order {fortran}");
        }
        let data = words(&COARSE[..4], bytes, exponent_bits, big);
        fs::write(folder.join("V.npy"), npy(descr, false, "(2, 2)", &data)).unwrap();
        assert_eq!(json(&FLAGS.replace("W.npy", "V.npy"), &folder), expected, "weights in {descr}");
    }
    for (dtype, bytes, exponent_bits) in [("F16", 2, 5), ("BF16", 2, 8), ("F8_E4M3", 1, 4), ("F8_E5M2", 1, 5)] {
        let header = format!(r#"{{"h":{{"dtype":"{dtype}","shape":[5,2],"data_offsets":[0,{}]}}}}"#, 10 * bytes);
        fs::write(folder.join("H.safetensors"), tensors(&header, &words(&COARSE, bytes, exponent_bits, false)))
            .unwrap();
        assert_eq!(json(&FLAGS.replace("H.npy", "H.safetensors:h"), &folder), expected, "{dtype}");
    }
    // Not a number in each of them, by its place.
    for (descr, nan) in [("<f2", [0, 0x7e]), ("<V2", [0xc0, 0x7f])] {
        let mut data = vec![0; 20];
        data[6..8].copy_from_slice(&nan);
        fs::write(folder.join("H.npy"), npy(descr, false, "(5, 2)", &data)).unwrap();
        let message = refusal(FLAGS, &folder);
        assert!(message.contains("--features H.npy: entry 1 of row 1 (counted from 0) is NaN"), "{message}");
    }
}

#[test]
fn labels_are_bools_whole_floats_one_hot_rows_or_a_row() {
    let folder = small("labels-of-all-kinds");
    let expected = json(FLAGS, &folder);
    let same = |descr: &str, fortran: bool, shape: &str, data: &[u8]| {
        fs::write(folder.join("y.npy"), npy(descr, fortran, shape, data)).unwrap();
        assert_eq!(json(FLAGS, &folder), expected, "{descr} {shape}");
    };
    let numbers = [0.0, 0.0, 1.0, 1.0, 1.0];
    for descr in ["|b1", "bool", "|i1", "<i1", "|u1"] {
        same(descr, false, "(5,)", &[0, 0, 1, 1, 1]);
    }
    for shape in ["(5,)", "(1, 5)", "(5, 1)", "(5, 1, 1)", "(1, 1, 5)"] {
        same("<f8", false, shape, &doubles(&numbers));
        same("<f2", true, shape, &words(&numbers, 2, 5, false));
        same(">f4", false, shape, &words(&numbers, 4, 8, true));
    }
    // -0 is zero.
    same("<f8", false, "(5,)", &doubles(&[-0.0, 0.0, 1.0, 1.0, 1.0]));
    let rows = [1, 0, 1, 0, 0, 1, 0, 1, 0, 1];
    let columns = [1, 1, 0, 0, 0, 0, 0, 1, 1, 1];
    for descr in ["|b1", "|u1", "|i1"] {
        same(descr, false, "(5, 2)", &rows);
        same(descr, true, "(5, 2)", &columns);
        same(descr, false, "(5, 2, 1, 1)", &rows);
    }
    same("<f4", false, "(5, 2)", &words(&rows.map(f64::from), 4, 8, false));
    same("<i8", false, "(5, 2)", &rows.iter().flat_map(|&one| i64::from(one).to_le_bytes()).collect::<Vec<_>>());
    let header = r#"{"y":{"dtype":"BOOL","shape":[5],"data_offsets":[0,5]}}"#;
    fs::write(folder.join("y.safetensors"), tensors(header, &[0, 0, 1, 1, 1])).unwrap();
    assert_eq!(json(&FLAGS.replace("y.npy", "y.safetensors"), &folder), expected);
}

/// One sample, in a row of its own.
#[test]
fn one_sample_may_be_one_hot() {
    let folder = small("one-sample");
    fs::write(folder.join("W.npy"), npy("<f8", false, "(1, 2)", &doubles(&WEIGHTS[..2]))).unwrap();
    fs::write(folder.join("H.npy"), npy("<f8", false, "(1, 2)", &doubles(&FEATURES[..2]))).unwrap();
    fs::write(folder.join("y.npy"), npy("|u1", false, "(1, 1)", &[0])).unwrap();
    let expected = json(FLAGS, &folder);
    fs::write(folder.join("y.npy"), npy("<f8", false, "(1,)", &doubles(&[0.0]))).unwrap();
    assert_eq!(json(FLAGS, &folder), expected);
    fs::write(folder.join("W.npy"), npy("<f8", false, "(2, 2)", &doubles(&WEIGHTS))).unwrap();
    fs::write(folder.join("y.npy"), npy("|u1", false, "(1, 2)", &[0, 1])).unwrap();
    let message = refusal(FLAGS, &folder);
    assert!(message.contains("class 0 of 2 has no sample"), "{message}");
}

#[test]
fn labels_that_cannot_be_meant_are_refused_with_their_place() {
    let folder = small("labels-refused");
    let message = |descr: &str, shape: &str, data: &[u8]| {
        fs::write(folder.join("y.npy"), npy(descr, false, shape, data)).unwrap();
        let message = refusal(FLAGS, &folder);
        assert!(message.starts_with("error: --labels y.npy: "), "{message}");
        message
    };
    let floats = |values: &[f64]| message("<f8", "(5,)", &doubles(values));
    let mut ignored: Vec<u8> = [0_i64, 0, 1, -100, 1].iter().flat_map(|label| label.to_le_bytes()).collect();
    check(&[
        (floats(&[0.0, 1.0, 1.5, 1.0, 1.0]), "entry 2 (counted from 0) is 1.5, labels are whole numbers"),
        (floats(&[0.0, 1.0, 1.0, f64::NAN, 1.0]), "entry 3 (counted from 0) is NaN, labels are whole numbers"),
        (floats(&[0.0, f64::INFINITY, 1.0, 1.0, 1.0]), "entry 1 (counted from 0) is inf, labels are whole numbers"),
        (floats(&[0.0, 1e300, 1.0, 1.0, 1.0]), "accepted are 0 to 1 for 2 classes"),
        (floats(&[0.0, -1.0, 1.0, 1.0, 1.0]), "entry 1 (counted from 0) is -1, accepted are 0 to 1 for 2 classes"),
        (floats(&[1.0, 1.0, 2.0, 2.0, 2.0]), "they seem to be counted from 1; give --labels-from 1"),
        // Class 1 has no sample, and 0 does not occur.
        (floats(&[2.0, 2.0, 2.0, 2.0, 2.0]), "labels run from 2 to 2: they seem to be counted from 1"),
        (floats(&[0.0, 1.0, 2.0, 2.0, 2.0]), "entry 2 (counted from 0) is 2, accepted are 0 to 1 for 2 classes"),
        (message("<i8", "(5,)", &ignored), "entry 3 (counted from 0) is -100, accepted are 0 to 1"),
        (
            message("<i8", "(5,)", &ignored),
            "PyTorch's ignore_index, drop these samples from the features and the labels",
        ),
        (message("|b1", "(5,)", &[0, 0, 1, 2, 1]), "entry 3 (counted from 0) is the byte 2, a bool is 0 or 1"),
        (
            message("|u1", "(5, 2)", &[1, 0, 1, 0, 1, 1, 0, 1, 0, 1]),
            "row 2 (counted from 0) has 2 ones, a one-hot row has exactly one",
        ),
        (message("|u1", "(5, 2)", &[1, 0, 1, 0, 0, 1, 0, 0, 0, 1]), "row 3 (counted from 0) has 0 ones"),
        (
            message("|u1", "(5, 2)", &[1, 0, 1, 0, 0, 1, 0, 1, 0, 3]),
            "entry 1 of row 4 (counted from 0) is 3, a one-hot row has zeros and a one",
        ),
        (
            message("<f8", "(5, 2)", &doubles(&[0.9, 0.1, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0])),
            "entry 0 of row 0 (counted from 0) is 0.9, a one-hot row has zeros and a one; of soft labels or scores save the argmax",
        ),
        (
            message("|u1", "(2, 5)", &[1, 1, 0, 0, 0, 0, 0, 1, 1, 1]),
            "it has the shape 2 x 5, one label a sample is needed, or a one-hot row of 2: it seems to be the transpose, save y.T",
        ),
        (message("|u1", "(4, 2)", &[1, 0, 1, 0, 0, 1, 0, 1]), "4 labels given, but --features H.npy has 5 rows"),
        (message("|u1", "()", &[1]), "it has the shape ()"),
        (
            message("|u1", "(5,)", &[0; 5]),
            "class 1 of 2 has no sample; the theory needs one of every class: drop its row of W and b and renumber the labels",
        ),
    ]);
    ignored[24..32].copy_from_slice(&i64::MIN.to_le_bytes());
    check(&[(message("<i8", "(5,)", &ignored), "entry 3 (counted from 0) is -9223372036854775808")]);
    fs::write(folder.join("y.npy"), npy("|u1", false, "(5, 2)", &[1, 0, 1, 0, 0, 1, 0, 1, 0, 1])).unwrap();
    let message = refusal(&format!("{FLAGS} --labels-from 1"), &folder);
    assert!(
        message.contains("--labels-from 1: --labels y.npy is one-hot, whose columns are counted from 0"),
        "{message}"
    );
}

#[test]
fn one_hot_rows_with_three_ones_and_classes_without_samples_are_named_by_their_numbers() {
    let folder = small("many-classes");
    let write =
        |name: &str, shape: &str, data: &[u8]| fs::write(folder.join(name), npy("<f8", false, shape, data)).unwrap();
    write("W.npy", "(14, 2)", &doubles(&[1.0; 28]));
    let mut rows = vec![0.0; 70];
    for row in 0..5 {
        rows[14 * row + row] = 1.0;
    }
    write("y.npy", "(5, 14)", &doubles(&rows));
    check(&[(
        refusal(FLAGS, &folder),
        "--labels y.npy: classes 5, 6, 7, 8, 9, 10, 11, 12, 13 of 14 have no sample; the theory needs one of every class: drop their rows of W and b and renumber the labels",
    )]);
    rows[14 * 3 + 7] = 1.0;
    rows[14 * 3 + 9] = 1.0;
    write("y.npy", "(5, 14)", &doubles(&rows));
    check(&[(refusal(FLAGS, &folder), "row 3 (counted from 0) has 3 ones")]);
    write("W.npy", "(20, 2)", &doubles(&[1.0; 40]));
    fs::write(folder.join("y.npy"), npy("|u1", false, "(5,)", &[0, 1, 2, 3, 19])).unwrap();
    check(&[(refusal(FLAGS, &folder), "classes 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 and 5 more of 20 have no sample")]);
}

#[test]
fn sides_of_one_say_nothing() {
    let folder = small("sides");
    let bias = doubles(&[0.4, 0.6]);
    fs::write(folder.join("b.npy"), npy("<f8", false, "(2,)", &bias)).unwrap();
    let flags = format!("{FLAGS} --bias b.npy");
    let expected = json(&flags, &folder);
    let with = |name: &str, shape: &str, data: &[u8]| {
        let before = fs::read(folder.join(name)).unwrap();
        fs::write(folder.join(name), npy("<f8", false, shape, data)).unwrap();
        assert_eq!(json(&flags, &folder), expected, "{name} {shape}");
        fs::write(folder.join(name), before).unwrap();
    };
    for shape in ["(5, 2, 1, 1)", "(5, 2, 1)", "(5, 1, 1, 2)"] {
        with("H.npy", shape, &doubles(&FEATURES));
    }
    for shape in ["(2, 2, 1, 1)", "(2, 2, 1)"] {
        with("W.npy", shape, &doubles(&WEIGHTS));
    }
    for shape in ["(1, 2)", "(2, 1)", "(1, 2, 1, 1)"] {
        with("b.npy", shape, &bias);
    }
    let refused = |name: &str, shape: &str, numbers: usize| {
        let before = fs::read(folder.join(name)).unwrap();
        fs::write(folder.join(name), npy("<f8", false, shape, &vec![0; 8 * numbers])).unwrap();
        let message = refusal(&flags, &folder);
        fs::write(folder.join(name), before).unwrap();
        message
    };
    check(&[
        (
            refused("H.npy", "(5, 2, 2, 2)", 40),
            "--features H.npy: it has the shape 5 x 2 x 2 x 2, a matrix is needed: flatten or average the sides after the first",
        ),
        (
            refused("H.npy", "(1, 5, 2)", 10),
            "it has the shape 1 x 5 x 2, a matrix is needed: drop the first side, of 1",
        ),
        (refused("H.npy", "()", 1), "it has the shape (), a matrix is needed"),
        (refused("W.npy", "(2, 2, 3, 3)", 36), "--weights W.npy: it has the shape 2 x 2 x 3 x 3, a matrix is needed"),
        (refused("b.npy", "()", 1), "--bias b.npy: it has the shape (), a vector is needed"),
        (refused("b.npy", "(2, 2)", 4), "--bias b.npy: it has the shape 2 x 2, a vector is needed"),
    ]);
}

#[test]
fn messages_say_what_to_do_for_transposes_and_heads_of_one_output() {
    let folder = small("transposed");
    let write = |name: &str, shape: &str, numbers: usize| {
        fs::write(folder.join(name), npy("<f8", false, shape, &vec![0; 8 * numbers])).unwrap();
    };
    write("wide.npy", "(3, 2)", 6);
    write("tall.npy", "(4, 3)", 12);
    write("T.npy", "(2, 3)", 6);
    write("U.npy", "(3, 4)", 12);
    write("F.npy", "(2, 5)", 10);
    write("one.npy", "(1, 2)", 2);
    let with = |weights: &str| refusal(&FLAGS.replace("W.npy", weights), &folder);
    check(&[
        (
            with("T.npy"),
            "--weights T.npy: a layer of 2 x 3 reads 3 numbers, but --features H.npy has 2 numbers a sample: it seems to be the transpose, save W.T; layers are (out, in), W_1 first",
        ),
        (with("T.npy U.npy"), "it seems to be the transpose, save W.T"),
        (
            with("wide.npy U.npy"),
            "--weights U.npy: a layer of 3 x 4 reads 4 numbers, but --weights wide.npy writes 3: it seems to be the transpose, save W.T",
        ),
        (
            with("tall.npy wide.npy"),
            "--weights tall.npy: a layer of 4 x 3 reads 3 numbers, but --features H.npy has 2 numbers a sample: the layers seem to be in reverse, name them from W_1 to W_L",
        ),
        (refusal(&FLAGS.replace("H.npy", "F.npy"), &folder), "the features seem to be transposed, save H.T"),
        (
            with("one.npy"),
            "--labels y.npy: labels of two classes, but the last layer has one output; two outputs are needed: stack W = [-w; w] and b = [1 - b; b]",
        ),
    ]);
    fs::write(folder.join("y.npy"), npy("|i1", false, "(5,)", &[255, 255, 1, 1, 1])).unwrap();
    check(&[(with("one.npy"), "two outputs are needed: stack W = [-w; w]/2 and b = [1 - b; 1 + b]/2")]);
    fs::write(folder.join("y.npy"), npy("|u1", false, "(5, 2)", &[1, 0, 1, 0, 0, 1, 0, 1, 0, 1])).unwrap();
    check(&[(with("one.npy"), "the last layer has one output; two outputs are needed")]);
}

/// A head of one output has the objective of the two that the message says to stack, with the decays of docs/measure.md:
/// that of the one output is computed here.
#[test]
fn the_stacked_head_has_the_objective_of_the_one_output() {
    let folder = small("stacked");
    let (w, b, layer_decay, feature_decay) = ([0.8, -0.3], 0.45, 2e-2, 3e-2);
    let squares = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
    let objective = |targets: [f64; 2]| {
        let targets = [0, 0, 1, 1, 1].map(|class: usize| targets[class]);
        let residuals = FEATURES.chunks(2).zip(targets).map(|(h, y)| w[0] * h[0] + w[1] * h[1] + b - y);
        let loss = squares(&residuals.collect::<Vec<_>>()) / 5.0;
        loss + layer_decay / 2.0 * squares(&w) + feature_decay / 2.0 * squares(&FEATURES)
    };
    let stacked = |weights: [f64; 4], bias: [f64; 2], decays: [f64; 2]| {
        fs::write(folder.join("W.npy"), npy("<f8", false, "(2, 2)", &doubles(&weights))).unwrap();
        fs::write(folder.join("b.npy"), npy("<f8", false, "(2,)", &doubles(&bias))).unwrap();
        let [layer, feature] = decays;
        let flags = format!(
            "--weights W.npy --bias b.npy --features H.npy --labels y.npy --layer-decay {layer} --feature-decay \
             {feature} --loss-convention mean --feature-convention total --anyway"
        );
        json(&flags, &folder)["objective"].as_f64().unwrap()
    };
    let rows = [-w[0], -w[1], w[0], w[1]];
    let measured = stacked(rows, [1.0 - b, b], [layer_decay / 2.0, feature_decay]);
    // Twenty sums of numbers of order one.
    let rounding = 20.0 * f64::EPSILON;
    assert!((measured - objective([0.0, 1.0])).abs() <= rounding, "{measured}");
    let halves = [1.0 - b, 1.0 + b].map(|x| x / 2.0);
    let measured = 4.0 * stacked(rows.map(|x| x / 2.0), halves, [layer_decay / 2.0, feature_decay / 4.0]);
    assert!((measured - objective([-1.0, 1.0])).abs() <= 4.0 * rounding, "{measured}");
}

/// Features in files of two, one and two samples, whose names sort otherwise as words than as numbers.
fn split_features(folder: &Path) {
    for (name, rows) in [("H-1.npy", 0..2), ("H-2.npy", 2..3), ("H-10.npy", 3..5)] {
        let data = doubles(&FEATURES[2 * rows.start..2 * rows.end]);
        fs::write(folder.join(name), npy("<f8", false, &format!("({}, 2)", rows.len()), &data)).unwrap();
    }
}

#[test]
fn features_in_several_files_are_one_after_another() {
    let folder = small("several");
    let flags = format!("{FLAGS} --anyway");
    let expected = json(&flags, &folder);
    split_features(&folder);
    for (name, range) in [("y-a.npy", 0..3), ("y-b.npy", 3..5)] {
        let data = &[0, 0, 1, 1, 1][range.clone()];
        fs::write(folder.join(name), npy("|u1", false, &format!("({},)", range.len()), data)).unwrap();
    }
    let of = |features: &str| flags.replace("--features H.npy", features);
    let words = [
        "--features H-1.npy H-2.npy H-10.npy",
        "--features H-1.npy --features H-2.npy --features H-10.npy",
        "--features H-*.npy",
    ];
    for words in words {
        // Sums of few numbers, whose order may differ between one batch and three.
        close(&json(&of(words), &folder), &expected);
        let labels = of(words).replace("y.npy", "y-[ab].npy");
        close(&json(&labels, &folder), &expected);
    }
    // The order that is given is the order that is taken.
    let message = refusal(&of("--features H-1.npy H-2.npy"), &folder);
    assert!(message.contains("5 labels given, but --features H-1.npy and 1 more has 3 rows"), "{message}");
    let other = json(&of("--features H-10.npy H-2.npy H-1.npy"), &folder);
    assert_ne!(other["objective"], expected["objective"]);
    fs::write(folder.join("wide.npy"), npy("<f8", false, "(1, 3)", &[0; 24])).unwrap();
    let mut bad = doubles(&FEATURES[6..]);
    bad[24..].copy_from_slice(&f64::NAN.to_le_bytes());
    fs::write(folder.join("H-3.npy"), npy("<f8", false, "(2, 2)", &bad)).unwrap();
    check(&[
        (
            refusal(&of("--features H-1.npy wide.npy"), &folder),
            "--features wide.npy: 3 numbers a sample, --features H-1.npy has 2",
        ),
        (
            refusal(&of("--features H-1.npy H-2.npy H-3.npy"), &folder),
            "--features H-3.npy: entry 1 of row 1 (counted from 0) is NaN",
        ),
        (refusal(&of("--features G-*.npy"), &folder), "--features G-*.npy: no file matches this pattern"),
        (refusal(&of("--features H-[.npy"), &folder), "--features H-[.npy: "),
        (refusal(&of("--features H-1.npy missing.npy"), &folder), "--features missing.npy: No such file"),
    ]);
    // A file that is really called like a pattern.
    fs::copy(folder.join("H.npy"), folder.join("H[1].npy")).unwrap();
    assert_eq!(json(&of("--features H[1].npy"), &folder), expected);
}

/// Equal but for the order of sums over five samples; what metrics divide by has one singular value, of order one.
fn close(ours: &serde_json::Value, expected: &serde_json::Value) {
    match expected {
        serde_json::Value::Object(entries) => entries.iter().for_each(|(key, value)| close(&ours[key], value)),
        serde_json::Value::Array(entries) => {
            entries.iter().enumerate().for_each(|(i, value)| close(&ours[i], value));
        }
        serde_json::Value::Number(number) => {
            let (ours, expected) = (ours.as_f64().unwrap(), number.as_f64().unwrap());
            assert!((ours - expected).abs() <= 100.0 * f64::EPSILON * expected.abs().max(1.0), "{ours} {expected}");
        }
        other => assert_eq!(ours, other),
    }
}

#[test]
fn models_in_several_files_are_read_through_their_index() {
    let folder = small("index");
    let expected = json(FLAGS, &folder);
    let one = r#"{"fc.weight":{"dtype":"F64","shape":[2,2],"data_offsets":[0,32]}}"#;
    fs::write(folder.join("model-2.safetensors"), tensors(one, &doubles(&WEIGHTS))).unwrap();
    let index = |text: &str| fs::write(folder.join("model.safetensors.index.json"), text).unwrap();
    let of = |tensor: &str| FLAGS.replace("W.npy", &format!("model.safetensors.index.json{tensor}"));
    let map = r#"{"metadata": {"total_size": 40}, "weight_map": {"fc.weight": "model-2.safetensors", "fc.bias": "model-1.safetensors"}}"#;
    index(map);
    assert_eq!(json(&of(":fc.weight"), &folder), expected);
    let refused = |text: &str, tensor: &str| {
        index(text);
        let message = refusal(&of(tensor), &folder);
        assert!(message.starts_with("error: --weights model.safetensors.index.json"), "{message}");
        message
    };
    check(&[
        (refused(map, ":fc.bias"), ":fc.bias: in model-1.safetensors: No such file"),
        (refused(map, ":fc.w"), "no tensor \"fc.w\": there are fc.bias, fc.weight"),
        (refused(map, ""), "which tensor? After a colon name one of fc.bias, fc.weight"),
        (
            refused(&map.replace("fc.weight", "gc"), ":gc"),
            "in model-2.safetensors: no tensor \"gc\": there are fc.weight",
        ),
        (
            refused(&map.replace("fc.bias", "fc.weight"), ":fc.weight"),
            "unreadable index, which is {\"weight_map\": {TENSOR: FILE.safetensors, ...}}: \"fc.weight\" is there twice",
        ),
        (refused(&map.replace("model-2", "../model-2"), ":fc.weight"), "files in its own folder are accepted"),
        (refused("[]", ":fc.weight"), "unreadable index"),
        (refused("", ":fc.weight"), "unreadable index"),
        (refused(r#"{"fc.weight": 5}"#, ":fc.weight"), "unreadable index"),
    ]);
}
