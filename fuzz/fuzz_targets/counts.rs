//! Any bytes as class counts: an error, or counts that are written and read back as the same and have a minimizer; as a
//! file, the same counts as in the text form of the library, or a refusal.

#![no_main]
#![allow(dead_code)]

#[path = "../../cli/src/shared/counts/mod.rs"]
mod counts;

use libfuzzer_sys::fuzz_target;
use neural_collapse::{ClassCounts, Layer, Ufm};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    // Ten million classes and more are answered too, but not in the memory that a fuzzer has.
    if text.split(['x', 'X']).skip(1).any(|rest| rest.bytes().take_while(u8::is_ascii_digit).count() > 6) {
        return;
    }
    for column in ["0", "1", "n"] {
        let _ = counts::parse(bytes.to_vec(), Some(column));
    }
    let (parsed, read) = (text.parse::<ClassCounts>(), counts::parse(bytes.to_vec(), None));
    if let (Ok(parsed), Ok(read)) = (&parsed, &read) {
        assert_eq!(parsed, read);
    }
    if let Err(why) = &read {
        assert!(!why.is_empty() && !why.contains('\n'));
    }
    for counts in [parsed.ok(), read.ok()].into_iter().flatten() {
        assert_eq!(counts.to_string().parse::<ClassCounts>().as_ref(), Ok(&counts));
        assert_eq!(counts.counts().iter().sum::<u64>(), counts.samples());
        assert_eq!(counts.groups().map(|group| group.multiplicity()).sum::<usize>(), counts.classes());
        let minimizer = Ufm::new(counts.clone(), [Layer::new(64, 1e-3)], 1e-4).unwrap().minimizer().unwrap();
        assert!(minimizer.rank() < counts.classes() && (0.0..=0.5).contains(&minimizer.objective()));
    }
});
