//! Any text as class counts: an error, or counts that are written and read back as the same and have a minimizer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neural_collapse::{ClassCounts, Layer, Ufm};

fuzz_target!(|text: &str| {
    // Ten million classes and more are answered too, but not in the memory that a fuzzer has.
    if text.split(['x', 'X']).skip(1).any(|rest| rest.bytes().take_while(u8::is_ascii_digit).count() > 6) {
        return;
    }
    let Ok(counts) = text.parse::<ClassCounts>() else { return };
    assert_eq!(counts.to_string().parse::<ClassCounts>().as_ref(), Ok(&counts));
    assert_eq!(counts.counts().iter().sum::<u64>(), counts.samples());
    assert_eq!(counts.groups().map(|group| group.multiplicity()).sum::<usize>(), counts.classes());
    let minimizer = Ufm::biased(counts.clone(), [Layer::new(64, 1e-3)], 1e-4).unwrap().minimizer().unwrap();
    assert!(minimizer.rank() < counts.classes() && (0.0..=0.5).contains(&minimizer.objective()));
});
