//! Data files, good and bad.

mod program;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::GzEncoder};
use imbalanced_mlp::data::Source;
use program::{fail, program};

/// An IDX file of bytes.
fn idx(shape: &[u32], numbers: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, u8::try_from(shape.len()).unwrap()];
    bytes.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(numbers);
    bytes
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Six images of 2 × 2 pixels, which are their index.
fn images() -> Vec<u8> {
    let pixels: Vec<u8> = (0..6).flat_map(|i| [i; 4]).collect();
    idx(&[6, 2, 2], &pixels)
}

fn source(images: &Path, labels: &Path) -> Source {
    Source::Idx { images: images.to_owned(), labels: labels.to_owned() }
}

#[test]
fn idx_files_compressed_or_not_with_labels_from_zero_or_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&images()).unwrap();
    let plain = write(folder.path(), "images", &images());
    let compressed = write(folder.path(), "images.gz", &encoder.finish().unwrap());
    let from_zero = write(folder.path(), "zero", &idx(&[6], &[0, 1, 2, 0, 1, 2]));
    let from_one = write(folder.path(), "one", &idx(&[6], &[1, 2, 3, 1, 2, 3]));
    let counts = "2,1,1".parse().unwrap();
    let reference = source(&plain, &from_zero).load(&counts, 3).unwrap();
    assert_eq!((reference.labels.len(), reference.inputs), (4, 4));
    for (images, labels) in [(&compressed, &from_zero), (&plain, &from_one), (&compressed, &from_one)] {
        let set = source(images, labels).load(&counts, 3).unwrap();
        assert_eq!(
            (&set.images, &set.labels, set.checksum),
            (&reference.images, &reference.labels, reference.checksum)
        );
    }
    // Another seed takes others, or the same in another order.
    let checksums = (0..10).map(|seed| source(&plain, &from_zero).load(&counts, seed).unwrap().checksum);
    assert!(checksums.collect::<std::collections::HashSet<_>>().len() > 1);
}

#[test]
fn errors_name_bad_idx_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| write(folder.path(), name, bytes);
    let good = file("images", &images());
    let labels = file("labels", &idx(&[6], &[0, 1, 2, 0, 1, 2]));
    let cut = file("cut", &images()[..20]);
    let empty = file("empty", &[]);
    let magic = file("magic", b"\x89PNG and more");
    let few = file("few", &idx(&[5], &[0, 1, 2, 0, 1]));
    let high = file("high", &idx(&[6], &[0, 1, 9, 0, 1, 2]));
    let damaged = file("damaged", b"\x1f\x8b\x08 no gzip");
    let huge = file("huge", &idx(&[u32::MAX, u32::MAX, u32::MAX], &[1]));
    let missing = folder.path().join("missing");
    let run = |images: &Path, labels: &Path, counts: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imbalanced-mlp"));
        command.args(["--data", "idx"]).args([images, labels]).args(["--counts", counts]);
        command.arg("--out").arg(folder.path().join("out"));
        command
    };
    fail(run(&missing, &labels, "1x3"), &["--data idx", "missing", "No such file"]);
    fail(run(&cut, &labels, "1x3"), &["cut: ", "4 bytes", "6 x 2 x 2"]);
    fail(run(&huge, &labels, "1x3"), &["huge: ", "1 bytes", "4294967295"]);
    fail(run(&empty, &labels, "1x3"), &["empty: ", "magic number"]);
    fail(run(&magic, &labels, "1x3"), &["magic: ", "0x89504e47", "0x00000803"]);
    fail(run(&damaged, &labels, "1x3"), &["damaged: ", "compressed file"]);
    fail(run(&labels, &good, "1x3"), &["labels: ", "images goes first"]);
    fail(run(&good, &good, "1x3"), &["images: ", "labels goes second"]);
    fail(run(&good, &few, "1x3"), &["few: ", "5 labels for the 6 images"]);
    fail(run(&good, &high, "1x3"), &["high: ", "entry 2", "is 9", "0 to 2"]);
    fail(run(&good, &labels, "1x2"), &["labels: ", "entry 2", "is 2", "0 to 1"]);
    fail(run(&good, &labels, "1,3,1"), &["class 1", "2 images", "asks for 3"]);
    fail(run(&good, &labels, "1,0"), &["--counts", "class 1", "0 samples"]);
    assert!(!folder.path().join("out").exists());
}

/// Records of CIFAR-10 with these labels.
fn records(labels: &[u8]) -> Vec<u8> {
    labels
        .iter()
        .flat_map(|&label| std::iter::once(label).chain((0..3072_u32).map(move |i| (i % 251) as u8 ^ label)))
        .collect()
}

#[test]
fn cifar10_from_a_file_and_from_a_folder_of_batches() {
    let folder = tempfile::tempdir().unwrap();
    let labels: Vec<u8> = (0..10).chain(0..10).collect();
    let counts = "2,1x9".parse().unwrap();
    let whole = write(folder.path(), "whole", &records(&labels));
    let reference = Source::Cifar10(vec![whole]).load(&counts, 0).unwrap();
    assert_eq!((reference.labels.len(), reference.inputs), (11, 3072));
    // In the order of the data set: the first ten records, and the second of class 0.
    assert_eq!(reference.labels, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    write(folder.path(), "data_batch_1.bin", &records(&labels[..7]));
    write(folder.path(), "data_batch_2.bin", &records(&labels[7..]));
    write(folder.path(), "test_batch.bin", b"not read");
    let set = Source::Cifar10(vec![folder.path().to_owned()]).load(&counts, 0).unwrap();
    assert_eq!((set.checksum, set.images), (reference.checksum, reference.images));
}

#[test]
fn errors_name_bad_cifar10_files() {
    let folder = tempfile::tempdir().unwrap();
    let good = records(&[0, 1, 2]);
    let cut = write(folder.path(), "cut", &good[..5000]);
    let label = write(folder.path(), "label", &records(&[0, 10]));
    let few = write(folder.path(), "few", &good);
    let run = |path: &Path, counts: &str| {
        program(&format!("--data cifar10 {} --counts {counts}", path.display()), &folder.path().join("out"))
    };
    fail(run(&folder.path().join("missing"), "1x10"), &["--data cifar10", "missing", "No such file"]);
    fail(run(folder.path(), "1x10"), &["data_batch_*.bin"]);
    fail(run(&cut, "1x10"), &["cut: ", "5000 bytes", "1 records", "1927 bytes more"]);
    fail(run(&label, "1x10"), &["label: ", "record 1", "label 10", "0 to 9"]);
    fail(run(&few, "1x10"), &["class 3", "0 images", "asks for 1"]);
    fail(run(&few, "1x2"), &["image 2", "class 2", "2 classes"]);
}

#[test]
fn digits_have_only_so_many_of_a_class() {
    let folder = tempfile::tempdir().unwrap();
    fail(program("--counts 200x10", folder.path()), &["--data digits", "class 0", "178 images", "asks for 200"]);
    fail(program("--data numbers", folder.path()), &["--data numbers", "cifar10 PATH", "idx IMAGES LABELS"]);
    fail(program("--data idx one", folder.path()), &["--data idx one"]);
    fail(program("--data idx one two", folder.path()), &["--counts or --profile is needed"]);
}
