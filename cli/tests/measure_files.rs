//! Files whose headers lie, pipes, and names: every run of `measure` ends at once, with the file and what is wrong with it.

#[path = "program/measure.rs"]
mod measure;
mod program;

use std::{
    fs,
    io::{ErrorKind, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use measure::{FEATURES, FLAGS, WEIGHTS, check, doubles, folder, json, npy, npy_start, refusal, small, tensors};
use program::program;

/// The message of a refusal of the features in this file, which must come within seconds: a parser that is led astray
/// takes years.
fn features_refused(folder: &Path, file: &[u8]) -> String {
    fs::write(folder.join("H.npy"), file).unwrap();
    let start = Instant::now();
    let message = refusal(FLAGS, folder);
    assert!(start.elapsed() < Duration::from_secs(10), "{message}");
    assert!(message.starts_with("error: --features H.npy: "), "{message}");
    message
}

/// A header whose length, 266 or 2570 bytes, has the byte of a line end, which once ended the check of its brackets.
#[test]
fn headers_whose_length_looks_like_a_line_end_are_checked_whole() {
    let folder = small("line-end");
    for (version, length) in [(1, 0x010a), (1, 0x0a0a), (2, 0x010a), (2, 0x0a0a), (3, 0x010a)] {
        for bracket in ["(", "{", "[", "{(["] {
            let header = format!("{:<length$}", bracket.repeat(length / bracket.len()));
            let file = [&npy_start(version, length)[..], header.as_bytes()].concat();
            let message = features_refused(&folder, &file);
            assert!(message.contains("brackets in its header: at most 3 are accepted"), "{message}");
        }
    }
    // A line end inside the header hides nothing behind it either.
    let hidden = format!("{{'descr': '<f8', \n{}", "(".repeat(60));
    let file = [&npy_start(1, hidden.len())[..], hidden.as_bytes()].concat();
    let message = features_refused(&folder, &file);
    assert!(message.contains("61 brackets in its header"), "{message}");
}

/// As much memory as the parser may want, and not what a header asks for.
#[cfg(unix)]
#[test]
fn announced_lengths_are_compared_with_the_file_before_there_is_memory_for_them() {
    let folder = small("announced");
    let limited = |arguments: &str| {
        let measure = program("measure", arguments);
        let mut shell = Command::new("sh");
        // In units of 1024 bytes: a quarter of what the longest of these headers asks for.
        shell.args(["-c", "ulimit -v 1000000 && exec \"$0\" \"$@\""]).arg(measure.get_program());
        let output = shell.args(measure.get_args()).current_dir(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let write = |name: &str, file: &[u8]| fs::write(folder.join(name), file).unwrap();
    let mut cases = Vec::new();
    for version in [2, 3] {
        write("H.npy", &npy_start(version, 0xffff_fff0));
        cases.push((limited(FLAGS), "a header of 10000 bytes and more"));
        write("H.npy", &[&npy_start(version, 9_999)[..], b"{'descr'"].concat());
        cases.push((limited(FLAGS), "a header of 9999 bytes, but the file ends after 8 of them"));
    }
    write("H.npy", &npy_start(1, 60)[..9]);
    cases.push((limited(FLAGS), "a length of 2 bytes, but the file ends after 1 of them"));
    write("H.npy", b"\x93NUMPY\x04\x00");
    cases.push((limited(FLAGS), "version 4.0 of the .npy format"));
    let huge = npy("<f8", false, "(1000000000000, 2)", &[0; 80]);
    write("H.npy", &huge);
    cases.push((limited(FLAGS), "an array of 1000000000000 x 2 needs 16000000000128"));
    write("H.npy", &npy("<f8", false, "(99999999999999999999999, 2)", &[0; 80]));
    cases.push((limited(FLAGS), "needs more than there can be"));
    write("H.npy", &npy("<f8", false, "(4611686018427387904, 0)", &[]));
    cases.push((limited(FLAGS), "an empty matrix of 4611686018427387904 x 0"));
    let of = FLAGS.replace("H.npy", "H.safetensors");
    write("H.safetensors", &100_000_000_u64.to_le_bytes());
    cases.push((limited(&of), "a header of 100000000 bytes, but the file ends after 0 of them"));
    write("H.safetensors", &u64::MAX.to_le_bytes());
    cases.push((limited(&of), "bytes long, at most 100000000 are accepted"));
    check(&cases);
}

#[test]
fn headers_of_every_version_and_of_old_numpy_are_read() {
    let folder = small("versions");
    let expected = json(FLAGS, &folder);
    let headers = [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (5, 2), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (5L, 2L), }",
        "{'descr': 'float64', 'fortran_order': False, 'shape': (5L, 2L), }",
        "{'shape': (5, 2), 'fortran_order': False, 'descr': 'f8'}",
        "{\"descr\": \"<f8\", \"fortran_order\": False, \"shape\": [5, 2]}",
    ];
    for header in headers {
        for version in [1, 2, 3] {
            // The first of these lengths has the byte of a line end.
            for length in [0x10a, 118] {
                let header = format!("{header:<width$}\n", width = length - 1);
                let file = [&npy_start(version, length)[..], header.as_bytes(), &doubles(&FEATURES)].concat();
                fs::write(folder.join("H.npy"), file).unwrap();
                assert_eq!(json(FLAGS, &folder), expected, "version {version}: {header}");
            }
        }
    }
}

#[test]
fn headers_that_say_something_else_are_named() {
    let folder = small("headers");
    let refused = |header: &str| {
        let header = format!("{header}\n");
        features_refused(&folder, &[&npy_start(1, header.len())[..], header.as_bytes(), &doubles(&FEATURES)].concat())
    };
    let dtype = |descr: &str| refused(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (5, 2)}}"));
    let many = (0..100).map(|i| format!("('field{i}', '<f4')")).collect::<Vec<_>>().join(", ");
    check(&[
        (
            refused("{'descr': '<f8', 'fortran_order': False}"),
            "unreadable .npy header {'descr': '<f8', 'fortran_order'",
        ),
        (refused("{'descr': '<f8', 'fortran_order': False}"), "shape is missing"),
        (refused("{'descr': '<f8', 'fortran_order': 0, 'shape': (5, 2)}"), "fortran_order is True or False"),
        (refused("{'descr': '<f8', 'fortran_order': False, 'shape': (5, -2)}"), "a side of -2"),
        (
            refused("{'descr': '<f8', 'fortran_order': False, 'shape': (5, 2.0)}"),
            "a side of 2e0, which is not an integer",
        ),
        (refused("{'descr': '<f8', 'fortran_order': False, 'shape': 5}"), "the shape 5 is not a tuple"),
        (refused("{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (5, 2)}"), "descr is there twice"),
        (refused("{'descr': '<f8', 'fortran_order': False, 'shape': (5, 2), 'x': 1}"), "it has 4 entries"),
        (refused("('<f8', False, 5)"), "it is not a dictionary"),
        (dtype("'|O'"), "an object array, of Python objects"),
        (dtype("'object'"), "an object array, of Python objects"),
        (dtype("[('a', '<f4'), ('b', '<i2')]"), "a structured array, with named fields: save one of the fields"),
        (dtype(&format!("[{many}]")), "a structured array"),
        (dtype("'|V2'"), "two bytes an entry that NumPy does not know, '|V2': if they are bfloat16"),
        (dtype("'<V1'"), "one byte an entry, '<V1', which is any of several float8 and int4 types"),
        (dtype("'<f1'"), "one byte an entry, '<f1'"),
        (dtype("'<U5'"), "the dtype '<U5' is not supported"),
        (dtype("'<M8[ns]'"), "the dtype '<M8[ns]' is not supported"),
        (dtype("'|f8'"), "the dtype '|f8' is not supported"),
        (dtype("5"), "the dtype 5 is not supported"),
    ]);
}

/// Features of five samples in the plane, and one number that nothing needs.
fn header(entries: &[(&str, usize, usize)]) -> String {
    let entry = |&(name, begin, end): &(&str, usize, usize)| {
        let shape = if end - begin == 80 { "[5,2]".into() } else { format!("[{}]", (end - begin) / 8) };
        format!("\"{name}\":{{\"dtype\":\"F64\",\"shape\":{shape},\"data_offsets\":[{begin},{end}]}}")
    };
    format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
}

#[test]
fn tensors_follow_each_other_without_a_gap_and_have_names_of_their_own() {
    let folder = small("gaps");
    let of = |name: &str| FLAGS.replace("H.npy", name);
    let data = [doubles(&FEATURES), doubles(&[7.0])].concat();
    let refused = |header: &str, data: &[u8]| {
        fs::write(folder.join("H.safetensors"), tensors(header, data)).unwrap();
        let message = refusal(&of("H.safetensors:h"), &folder);
        assert!(message.starts_with("error: --features H.safetensors:h: "), "{message}");
        message
    };
    let whole = header(&[("h", 0, 80), ("x", 80, 88)]);
    check(&[
        (refused(&header(&[("h", 0, 80), ("h", 0, 80)]), &data[..80]), "\"h\" is there twice"),
        (refused(&header(&[("h", 0, 80), ("x", 80, 88), ("x", 80, 88)]), &data), "\"x\" is there twice"),
        (refused(&header(&[("h", 0, 80)]), &data), "8 bytes that no tensor covers follow the last one"),
        (refused(&header(&[("x", 0, 8), ("h", 16, 96)]), &[0; 96]), "unreadable safetensors header: invalid offset"),
        (refused(&header(&[("x", 0, 8), ("h", 0, 80)]), &data[..80]), "unreadable safetensors header: invalid offset"),
        (refused(&header(&[("h", 8, 88)]), &data), "unreadable safetensors header: invalid offset"),
        (refused(&whole.replace("[80,88]", "[80,18446744073709551615]"), &data), "unreadable safetensors header"),
        (refused(&whole.replace("[5,2]", "[4294967296,4294967296,5,2]"), &data), "unreadable safetensors header"),
        (refused(&whole, &data[..87]), "the file is truncated"),
        (refused(&format!("{whole} trailing"), &data), "unreadable safetensors header"),
    ]);
    fs::write(folder.join("H.safetensors"), tensors(&whole, &data)).unwrap();
    assert_eq!(json(&of("H.safetensors:h"), &folder), json(FLAGS, &folder));
}

#[test]
fn folders_may_be_named_like_files_of_tensors() {
    let folder = small("folders");
    let file = tensors(&header(&[("fc.weight", 0, 80)]), &doubles(&FEATURES));
    let expected = json(FLAGS, &folder);
    for path in ["dir.safetensors", "a.safetensors:b", "run.json"] {
        fs::create_dir(folder.join(path)).unwrap();
        fs::write(folder.join(path).join("model.safetensors"), &file).unwrap();
        for tensor in ["", ":fc.weight"] {
            let value = format!("{path}/model.safetensors{tensor}");
            assert_eq!(json(&FLAGS.replace("H.npy", &value), &folder), expected, "{value}");
        }
    }
    // A tensor whose own name has a colon and the ending.
    let odd = tensors(&header(&[("x:y.safetensors", 0, 80)]), &doubles(&FEATURES));
    fs::write(folder.join("odd.safetensors"), odd).unwrap();
    assert_eq!(json(&FLAGS.replace("H.npy", "odd.safetensors:x:y.safetensors"), &folder), expected);
    let message = refusal(&FLAGS.replace("H.npy", "dir.safetensors"), &folder);
    assert!(message.contains("--features dir.safetensors: this is a folder, a file is needed"), "{message}");
}

#[test]
fn a_tensor_that_is_not_there_is_answered_with_the_three_nearest() {
    let folder = folder("nearest");
    let data = vec![0; 8 * 122];
    let names: Vec<String> = (0..121).map(|i| format!("layer{}.{}.conv{}.weight", i / 30, i / 6 % 5, i % 6)).collect();
    let mut entries: Vec<_> = names.iter().enumerate().map(|(i, name)| (&name[..], 8 * i, 8 * i + 8)).collect();
    entries.push(("module.fc.weight", 968, 976));
    fs::write(folder.join("m.safetensors"), tensors(&header(&entries), &data)).unwrap();
    let refused = |tensor: &str| refusal(&FLAGS.replace("W.npy", &format!("m.safetensors{tensor}")), &folder);
    for slip in ["fc.weight", "module.fc.weigth", "module.fc.weights"] {
        let message = refused(&format!(":{slip}"));
        let start = format!("--weights m.safetensors:{slip}: no tensor \"{slip}\": the nearest of its 122 names are ");
        let (before, names) = message.trim_end().split_once("names are ").unwrap();
        assert_eq!(format!("{before}names are "), format!("error: {start}"));
        let names: Vec<_> = names.split(", ").collect();
        assert!(names[0] == "module.fc.weight" && names.len() == 3, "{message}");
    }
    let message = refused(":layer3.0.conv1.weigth");
    assert!(message.contains("names are layer3.0.conv1.weight, layer"), "{message}");
    let message = refused("");
    assert!(message.contains("which tensor? After a colon name one of layer0.0.conv0.weight, "), "{message}");
    assert!(message.trim_end().ends_with(", and 112 more"), "{message}");
}

/// What a shell's `<(...)` gives: a pipe, which cannot be read twice or from another place.
#[cfg(unix)]
#[test]
fn all_arrays_may_be_pipes() {
    let folder = small("pipes");
    let expected = json(FLAGS, &folder);
    fs::write(folder.join("b.npy"), npy("<f8", false, "(2,)", &doubles(&[0.4, 0.6]))).unwrap();
    let with_bias = json(&format!("{FLAGS} --bias b.npy"), &folder);
    // Column after column, which is read at many places.
    let columns: Vec<f64> = (0..2).flat_map(|col| (0..5).map(move |row| FEATURES[2 * row + col])).collect();
    fs::write(folder.join("F.npy"), npy("<f8", true, "(5, 2)", &doubles(&columns))).unwrap();
    fs::write(folder.join("W.safetensors"), tensors(&header(&[("x", 0, 8), ("h", 8, 88)]), &[0; 88])).unwrap();
    let piped = |replaced: &[(&str, &str)], more: &str| {
        let mut arguments = format!("{FLAGS}{more} --json");
        for (file, pipe) in replaced {
            arguments = arguments.replace(file, pipe);
        }
        let measure = program("measure", "");
        let line = format!("{} measure {arguments}", measure.get_program().to_str().unwrap());
        let output = Command::new("bash").args(["-c", &line]).current_dir(&folder).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let all =
        [("W.npy", "<(cat W.npy)"), ("H.npy", "<(cat H.npy)"), ("y.npy", "<(cat y.npy)"), ("b.npy", "<(cat b.npy)")];
    for count in 1..=4 {
        let (more, expected) = if count == 4 { (" --bias b.npy", &with_bias) } else { ("", &expected) };
        let (code, stdout, stderr) = piped(&all[..count], more);
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(&serde_json::from_str::<serde_json::Value>(&stdout).unwrap(), expected);
    }
    let (code, stdout, stderr) = piped(&[("H.npy", "<(cat F.npy)")], "");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout).unwrap(), expected);
    // Refused as files are, and a pipe without an end is not read to its end.
    for (pipe, expected) in [
        ("<(head -c 200 H.npy)", "the file is truncated: it has 200 bytes, an array of 5 x 2 needs 208"),
        ("<(cat /dev/zero)", "no .npy file, which begins with"),
        ("<(true)", "no .npy file, which begins with"),
        ("/dev/zero", "--features /dev/zero: no .npy file"),
    ] {
        let (code, _, stderr) = piped(&[("H.npy", pipe)], "");
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr} should contain {expected}");
    }
    let (code, _, stderr) = piped(&[("H.npy", "<(cat H.npy /dev/zero)")], "");
    assert_eq!(code, Some(0), "{stderr}");
}

/// The name of a named pipe says the format.
#[cfg(unix)]
#[test]
fn a_named_pipe_of_tensors_is_read() {
    let folder = small("fifo");
    let expected = json(FLAGS, &folder);
    let made = Command::new("mkfifo").arg(folder.join("W.safetensors")).status();
    assert!(made.unwrap().success());
    let header = r#"{"x":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"fc":{"dtype":"F64","shape":[2,2],"data_offsets":[8,40]}}"#;
    let feed = |data: Vec<u8>| {
        let path = folder.join("W.safetensors");
        std::thread::spawn(move || {
            let mut pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
            // A reader that refuses what comes need not take all of it.
            match pipe.write_all(&data) {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
                _ => {}
            }
        })
    };
    let good = tensors(header, &doubles(&[&[7.0][..], &WEIGHTS].concat()));
    let writer = feed(good.clone());
    assert_eq!(json(&FLAGS.replace("W.npy", "W.safetensors:fc"), &folder), expected);
    writer.join().unwrap();
    for (data, expected) in [
        ([&good[..], b"more"].concat(), "bytes that no tensor covers"),
        (good[..good.len() - 1].to_vec(), "the file is truncated"),
        (good[..30].to_vec(), "but the file ends after 22 of them"),
    ] {
        let writer = feed(data);
        let message = refusal(&FLAGS.replace("W.npy", "W.safetensors:fc"), &folder);
        assert!(message.contains(expected), "{message} should contain {expected}");
        writer.join().unwrap();
    }
}
