//! Any bytes as images of CIFAR-10, or as an idx file next to one of labels: an error, or the images asked for.

#![no_main]
#![allow(dead_code)]

#[path = "../../examples/imbalanced_mlp/src/data/mod.rs"]
mod data;

use data::Source;
use libfuzzer_sys::fuzz_target;
use neural_collapse::ClassCounts;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let path = |what: &str| {
        std::env::temp_dir().join(format!("neural-collapse-fuzz-{}.{what}", std::process::id()))
    };
    let source = if kind % 2 == 0 {
        std::fs::write(path("bin"), bytes).unwrap();
        Source::Cifar10(vec![path("bin")])
    } else {
        let cut = bytes.len() / 4;
        std::fs::write(path("labels"), &bytes[..cut]).unwrap();
        std::fs::write(path("images"), &bytes[cut..]).unwrap();
        Source::Idx { images: path("images"), labels: path("labels") }
    };
    let counts: ClassCounts = if kind % 4 < 2 { "1x10" } else { "2,1" }.parse().unwrap();
    match source.load(&counts, 0) {
        Err(error) => assert!(format!("{error:#}").contains("--"), "{error:#}"),
        Ok(set) => {
            assert_eq!(set.labels.len() as u64, counts.samples());
            assert_eq!(set.images.len(), set.labels.len() * set.inputs);
            assert!(set.images.iter().all(|x| x.is_finite()));
        }
    }
});
