//! `neural-collapse measure`: against a table made by NumPy from the definitions, and on arrays that are not what they should
//! be.

#[path = "program/measure.rs"]
mod measure;
mod program;

use std::{fs, path::PathBuf};

use measure::{FLAGS, compare_up_to, doubles, json, npy, refusal, run, small, tensors};
use serde_json::Value;

fn compare(path: &str, ours: &Value, table: &Value) {
    match table {
        Value::Object(entries) => {
            entries.iter().for_each(|(key, value)| compare(&format!("{path}/{key}"), &ours[key], value));
        }
        Value::Array(entries) => {
            assert_eq!(ours.as_array().map(Vec::len), Some(entries.len()), "{path}: {ours}");
            entries.iter().zip(ours.as_array().unwrap()).for_each(|(value, ours)| compare(path, ours, value));
        }
        Value::Null => {}
        table => {
            let (ours, table) = (ours.as_f64().unwrap_or(f64::NAN), table.as_f64().unwrap());
            // The table inverts a d x d matrix whose condition is the square of that of the class means, which for the
            // collapsed direction of `plain` is 1e2; the gap is a difference of objectives, 1e3 times as large. Sizes
            // are 30, numbers of order one.
            let rounding = 30.0 * f64::EPSILON;
            let allowed = match path {
                path if path.contains("nc1") => 1e4 * rounding * table,
                path if path.contains("gap") => rounding,
                _ => rounding * table.max(1.0),
            };
            assert!((ours - table).abs() <= allowed, "{path}: {ours} {table}");
        }
    }
}

#[test]
fn networks_measure_what_numpy_says() {
    for case in ["plain", "deep", "product", "single", "tensors", "halves", "shards"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/networks").join(case);
        let mut table: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let [implied, rounding] =
            ["implied", "rounding"].map(|key| table["expected"].as_object_mut().unwrap().remove(key).unwrap());
        let words: Vec<&str> = table["flags"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        // Random arrays: no training has ended in them.
        let measured = json(&format!("{} --anyway", words.join(" ")), &folder);
        compare(case, &measured, &table["expected"]);
        compare_up_to(&rounding, &format!("{case}/implied"), &measured["implied"], &implied);
        for key in ["nc1", "nc2", "nc3", "nc4", "objective", "optimum", "gap", "distance"] {
            assert!(measured.get(key).is_some(), "{case}: no {key}");
        }
        // A product of several layers has no objective, and everything else.
        assert_eq!(measured["objective"].is_null(), case == "product");
        assert_eq!(measured["distance"].is_null(), case == "product");
    }
}

#[test]
fn labels_of_every_width_and_order_are_the_same_labels() {
    let folder = small("labels");
    let expected = json(FLAGS, &folder);
    let labels = [0_i64, 0, 1, 1, 1];
    for (descr, bytes) in [("|i1", 1), ("<i2", 2), ("<i4", 4), ("<u4", 4), ("<i8", 8), ("<u8", 8)] {
        let data: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()[..bytes].to_vec()).collect();
        fs::write(folder.join("y.npy"), npy(descr, false, "(5,)", &data)).unwrap();
        assert_eq!(json(FLAGS, &folder), expected, "{descr}");
    }
    let data: Vec<u8> = labels.iter().flat_map(|label| label.to_be_bytes()).collect();
    fs::write(folder.join("y.npy"), npy(">i8", false, "(5, 1)", &data)).unwrap();
    assert_eq!(json(FLAGS, &folder), expected);
    // Counted from 1: said, and shifted on demand.
    fs::write(folder.join("y.npy"), npy("|u1", false, "(5,)", &[1, 1, 2, 2, 2])).unwrap();
    let message = refusal(FLAGS, &folder);
    assert!(message.contains("counted from 1; give --labels-from 1"), "{message}");
    assert_eq!(json(&format!("{FLAGS} --labels-from 1"), &folder), expected);
}

#[test]
fn bad_labels_are_named() {
    let folder = small("bad-labels");
    let message = |descr: &str, shape: &str, data: &[u8]| {
        fs::write(folder.join("y.npy"), npy(descr, false, shape, data)).unwrap();
        refusal(FLAGS, &folder)
    };
    let cases = [
        (
            message("|i1", "(5,)", &[0, 0, 1, 255, 1]),
            "--labels y.npy: entry 3 (counted from 0) is -1, accepted are 0 to 1",
        ),
        (message("|u1", "(5,)", &[0, 0, 1, 1, 2]), "entry 4 (counted from 0) is 2, accepted are 0 to 1 for 2 classes"),
        (message("<u8", "(5,)", &[255; 40]), "entry 0 (counted from 0) is 18446744073709551615"),
        (message("|u1", "(5,)", &[0; 5]), "class 1 of 2 has no sample"),
        (message("|u1", "(4,)", &[0, 0, 1, 1]), "4 labels given, but --features H.npy has 5 rows"),
        (message("|u1", "(6,)", &[0, 0, 1, 1, 1, 1]), "6 labels given, but --features H.npy has 5 rows"),
        (message("|u1", "(5, 3)", &[0; 15]), "it has the shape 5 x 3, one label a sample is needed"),
        (message("|u1", "(5, 2)", &[0; 10]), "row 0 (counted from 0) has 0 ones"),
        (message("<f8", "(5,)", &[0; 40]), "class 1 of 2 has no sample"),
        (message("|b1", "(5,)", &[0; 5]), "class 1 of 2 has no sample"),
        (message("<c8", "(5,)", &[0; 40]), "the dtype '<c8' is not supported"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
}

#[test]
fn bad_arrays_are_named() {
    let folder = small("bad-arrays");
    let good = fs::read(folder.join("H.npy")).unwrap();
    let message = |file: &[u8]| {
        fs::write(folder.join("H.npy"), file).unwrap();
        let message = refusal(FLAGS, &folder);
        assert!(message.starts_with("error: --features H.npy: "), "{message}");
        message
    };
    let mut infinite = good.clone();
    let place = infinite.len() - 24;
    infinite[place..place + 8].copy_from_slice(&f64::INFINITY.to_le_bytes());
    let cases = [
        (message(&good[..good.len() - 1]), "the file is truncated: it has 207 bytes, an array of 5 x 2 needs 208"),
        (message(&good[..20]), "unreadable .npy header"),
        (message(&npy("|O", false, "(5, 2)", &[0; 80])), "an object array, of Python objects and not of numbers"),
        (message(b""), "no .npy file"),
        (message(b"PK\x03\x04 an archive of arrays"), "no .npy file"),
        (message(b"\x93NUMPY\x01\x00\x06\x00hello\n"), "unreadable .npy header"),
        (
            message(&npy("<f16", false, "(5, 2)", &[0; 160])),
            "the dtype '<f16' is not supported: float32 and float64 are",
        ),
        (message(&npy("<c16", false, "(5, 2)", &[0; 160])), "the dtype '<c16' is not supported"),
        (message(&npy("<i8", false, "(5, 2)", &[0; 80])), "integers given, floats are needed"),
        (message(&npy("<f8", false, "(10,)", &[0; 80])), "it has the shape (10,), a matrix is needed"),
        (message(&npy("<f8", false, "(5, 1, 2, 2)", &[0; 160])), "it has the shape 5 x 1 x 2 x 2, a matrix is needed"),
        // What would take a parser longer than a person waits.
        (message(&npy("<f8", false, &format!("(5, 2{}", "(".repeat(40)), &[0; 80])), "brackets in its header"),
        (message(&npy("<f8", false, &format!("({}5, 2)", " ".repeat(20_000)), &[0; 80])), "a header of 10000 bytes"),
        (message(&npy("<f8", false, "(4611686018427387904, 2)", &[0; 80])), "the file is truncated"),
        (message(&infinite), "entry 1 of row 3 (counted from 0) is inf"),
        (
            message(&npy("<f8", true, "(5, 2)", &doubles(&[1.0, 2.0, f64::NAN, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1e200]))),
            "entry 0 of row 2 (counted from 0) is NaN",
        ),
        (
            message(&npy("<f8", true, "(5, 2)", &doubles(&[1.0, 2.0, 3.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1e200]))),
            "entry 1 of row 4 (counted from 0) is 1e200",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
    fs::remove_file(folder.join("H.npy")).unwrap();
    assert!(refusal(FLAGS, &folder).contains("--features H.npy: No such file"));
}

#[test]
fn layers_that_do_not_fit_are_named() {
    let folder = small("layers");
    let write = |name: &str, shape: &str, data: &[f64]| {
        fs::write(folder.join(name), npy("<f8", false, shape, &doubles(data))).unwrap();
    };
    write("W1.npy", "(3, 2)", &[1.0; 6]);
    write("W2.npy", "(2, 3)", &[1.0; 6]);
    write("b.npy", "(3,)", &[1.0; 3]);
    write("c.npy", "(2,)", &[1.0, f64::NAN]);
    write("E.npy", "(0, 2)", &[]);
    write("N.npy", "(2, 2)", &[1.0, 1.0, f64::NEG_INFINITY, 1.0]);
    let with = |weights: &str| FLAGS.replace("W.npy", weights);
    let cases = [
        (
            with("W2.npy W1.npy"),
            "--weights W2.npy: a layer of 2 x 3 reads 3 numbers, but --features H.npy has 2 numbers a sample: is it the transpose, or are the layers in reverse?",
        ),
        (with("W1.npy W1.npy"), "a layer of 3 x 2 reads 2 numbers, but --weights W1.npy writes 3"),
        (with("E.npy"), "an empty matrix of 0 x 2"),
        (with("N.npy"), "--weights N.npy: entry (1, 0) is -inf"),
        (with("missing.npy"), "--weights missing.npy: No such file"),
        (format!("{FLAGS} --bias b.npy"), "--bias b.npy: 3 numbers given, the last layer has 2 outputs"),
        (format!("{FLAGS} --bias c.npy"), "--bias c.npy: entry 1 is NaN"),
        (format!("{FLAGS} --bias W.npy"), "it has the shape 2 x 2, a vector is needed"),
        (format!("{} --layers 3", with("W1.npy W2.npy")), "--weights: 2 files given for 3 layers"),
        (
            FLAGS.replace("--layer-decay 1e-2", "--layer-decay 1e-2,1e-3 --layers 3"),
            "--layer-decay: 2 values given for 3 layers",
        ),
        (format!("{FLAGS} --layers 0"), "--layers: 0 given, 1 to 10000 are accepted"),
        (format!("{FLAGS} --layers 1000000000000"), "--layers: 1000000000000 given, 1 to 10000 are accepted"),
        (format!("{FLAGS} --layers 2 --widths 3,2"), "--widths: [3, 2] given"),
        (FLAGS.replace("--layer-decay 1e-2", "--layer-decay=-1e-2"), "--layer-decay: weight decay: -0.01 given"),
        (
            FLAGS.replace("--layer-decay 1e-2", "--layer-decay 0"),
            "--layer-decay: decay of W_1: 0.0 given, a positive finite number is needed: without a penalty there is no",
        ),
        (FLAGS.replace("--feature-decay 1e-2", "--feature-decay=-1"), "--feature-decay: feature decay: -1.0 given"),
        (FLAGS.replace("--feature-decay 1e-2", "--feature-decay nan"), "--feature-decay: feature decay: NaN given"),
        (format!("{FLAGS} --plot figure.png"), "--plot figure.png: a name that ends in .svg is accepted"),
        (format!("{FLAGS} --plot missing/figure.svg"), "--plot missing/figure.svg: there is no such folder"),
    ];
    for (arguments, expected) in cases {
        let message = refusal(&arguments, &folder);
        assert!(message.contains(expected), "{arguments}: {message} should contain {expected}");
    }
    // The narrowest layer inside a product decides over the rank.
    let wide = json(&format!("{FLAGS} --layers 2 --anyway"), &folder);
    let narrow = json(&format!("{FLAGS} --layers 2 --widths 2,1 --anyway"), &folder);
    assert!(narrow["optimum"].as_f64().unwrap() > wide["optimum"].as_f64().unwrap());
}

#[test]
fn tensors_are_found_by_name() {
    let folder = small("tensors");
    let one = r#"{"fc":{"dtype":"F64","shape":[2,2],"data_offsets":[0,32]}}"#;
    let data = doubles(&[1.0, 0.1, -1.0, 0.1]);
    fs::write(folder.join("W.safetensors"), tensors(one, &data)).unwrap();
    let of = |name: &str| FLAGS.replace("W.npy", name);
    let expected = json(FLAGS, &folder);
    assert_eq!(json(&of("W.safetensors"), &folder), expected);
    assert_eq!(json(&of("W.safetensors:fc"), &folder), expected);
    let message = refusal(&of("W.safetensors:gc"), &folder);
    assert!(message.contains("no tensor \"gc\": there are fc"), "{message}");
    let bad = |name: &str, header: &str, data: &[u8]| {
        fs::write(folder.join(name), tensors(header, data)).unwrap();
        refusal(&of(name), &folder)
    };
    let half = one.replace("F64", "F8_E8M0").replace("32", "4");
    let two = one.replace("}}", r#"},"gc":{"dtype":"F64","shape":[1],"data_offsets":[32,40]}}"#);
    let lying = one.replace("[0,32]", "[0,16]");
    let cases = [
        (bad("half.safetensors", &half, &[0; 4]), "the dtype F8_E8M0 is not supported"),
        (bad("two.safetensors", &two, &[0; 40]), "which tensor? After a colon name one of fc, gc"),
        (bad("short.safetensors", one, &data[..30]), "the file is truncated"),
        (bad("lying.safetensors", &lying, &data), "unreadable safetensors header"),
        (bad("text.safetensors", "hello", &[]), "unreadable safetensors header"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
    fs::write(folder.join("empty.safetensors"), b"").unwrap();
    assert!(refusal(&of("empty.safetensors"), &folder).contains("unreadable safetensors header"));
    fs::write(folder.join("long.safetensors"), [255; 8]).unwrap();
    assert!(refusal(&of("long.safetensors"), &folder).contains("bytes long, at most"));
}

#[test]
fn the_table_and_the_figure_show_what_was_measured() {
    let folder = small("table");
    let flags = format!("{FLAGS} --anyway");
    let output = run(&format!("{flags} --plot figure.svg"), &folder);
    let table = String::from_utf8(output.stdout).unwrap();
    let measured = json(&flags, &folder);
    for (line, number) in
        [("NC2 classifier", &measured["nc2"]["classifier"]), ("NC3 alignment", &measured["nc3"]["alignment"])]
    {
        let row = table.lines().find(|row| row.starts_with(line)).unwrap();
        let shown: f64 = row[26..39].trim().parse().unwrap();
        assert!((shown - number.as_f64().unwrap()).abs() <= 1e-6, "{row}");
    }
    // Decays that two classes of two and three cannot bear.
    let strong = run(&flags.replace("1e-2", "1"), &folder);
    let strong = String::from_utf8(strong.stdout).unwrap();
    assert!(strong.contains("3x1, 2x1 at the optimum: their classifiers are zero"), "{strong}");
    // These arrays are not at rest with any decay, so nothing is judged.
    let verdicts = ["reached", "near", "far"];
    assert!(!table.lines().any(|row| verdicts.iter().any(|verdict| row.ends_with(verdict))), "{table}");
    let figure = fs::read_to_string(folder.join("figure.svg")).unwrap();
    for title in ["classifiers, predicted", "class means, measured", "singular values: features"] {
        assert!(figure.contains(title));
    }
    assert!(!folder.join("figure.svg.part").exists());
}

/// Wide features and few classes take the way of two passes: the same numbers.
#[test]
fn wide_features_measure_the_same() {
    let folder = small("wide");
    let flags = format!("{FLAGS} --anyway");
    let expected = json(&flags, &folder);
    // Eight columns of zeros more change nothing but the width.
    let widen =
        |rows: &[f64]| -> Vec<f64> { rows.chunks(2).flat_map(|row| row.iter().copied().chain([0.0; 8])).collect() };
    fs::write(folder.join("W.npy"), npy("<f8", false, "(2, 10)", &doubles(&widen(&[1.0, 0.1, -1.0, 0.1])))).unwrap();
    let features = [0.5, 0.1, 0.6, 0.0, -0.5, 0.1, -0.4, 0.1, -0.5, 0.0];
    fs::write(folder.join("H.npy"), npy("<f8", false, "(5, 10)", &doubles(&widen(&features)))).unwrap();
    let wide = json(&flags, &folder);
    for key in ["nc1", "nc2", "nc3", "nc4", "objective", "optimum", "distance", "trace_ratio", "cdnv"] {
        compare(key, &wide[key], &expected[key]);
    }
}
