//! Class counts: what is accepted, what is refused and how, and how they are grouped.

use neural_collapse::{ClassCounts, Error};
use num_bigint::BigUint;
use proptest::prelude::*;

fn refused(text: &str) -> Error {
    text.parse::<ClassCounts>().unwrap_err()
}

#[test]
fn counts_that_cannot_be_are_named() {
    assert_eq!(ClassCounts::new([]), Err(Error::NoClasses));
    assert_eq!(ClassCounts::new([3, 0, 2]), Err(Error::ZeroCount { class: 1 }));
    assert_eq!(ClassCounts::new([1 << 52, 1 << 52, 1]), Err(Error::TooManySamples { class: 2 }));
    assert_eq!(ClassCounts::new([u64::MAX, u64::MAX]), Err(Error::TooManySamples { class: 0 }));
    assert_eq!(ClassCounts::new([1 << 52, 1 << 52]).unwrap().samples(), 1 << 53);
    assert_eq!(ClassCounts::balanced(0, 5), Err(Error::NoClasses));
    assert_eq!(ClassCounts::balanced(3, 0), Err(Error::ZeroCount { class: 0 }));
}

#[test]
fn malformed_text_is_named() {
    for (text, index, word) in [
        ("500,x", 1, "x"),
        ("5x", 0, "5x"),
        ("x5", 0, "x5"),
        ("5x0", 0, "5x0"),
        ("7 -3", 1, "-3"),
        ("1.5", 0, "1.5"),
        ("1e3", 0, "1e3"),
        ("5x2x2", 0, "5x2x2"),
        ("99999999999999999999", 0, "99999999999999999999"),
        ("10,20;30", 1, "20;30"),
        ("+5x+2", 0, "+5x+2"),
        ("5,,3", 1, ""),
        (",5", 0, ""),
        ("5, 3,,", 2, ""),
        (" ,\n,", 0, ""),
        ("005", 0, "005"),
        ("00", 0, "00"),
        ("1,005", 1, "005"),
        ("1 005", 1, "005"),
        ("05x3", 0, "05x3"),
        ("5x03", 0, "5x03"),
        ("1'005", 0, "1'005"),
        ("1_005", 0, "1_005"),
        ("3.5", 0, "3.5"),
    ] {
        let error = refused(text);
        assert_eq!(error, Error::MalformedCounts { index, word: word.into() });
        assert!(error.to_string().contains(word) && error.to_string().contains("CxM"));
    }
    assert_eq!(refused(""), Error::NoClasses);
    assert_eq!(refused(" \n\t"), Error::NoClasses);
    assert_eq!(refused("5,0"), Error::ZeroCount { class: 1 });
    // More classes than any memory holds are refused before it is asked for.
    assert!(matches!(refused("1x9007199254740992"), Error::TooLarge { .. }));
    assert!(matches!(refused("1x18446744073709551615"), Error::TooLarge { .. }));
}

#[test]
fn rejects_separators_between_thousands() {
    for (text, index, word, hint) in [
        ("1,005", 1, "005", "leading zero"),
        ("5,1'234", 1, "1'234", "thousands"),
        ("1\u{a0}234", 0, "1\u{a0}234", "thousands"),
        ("1\u{202f}234 7", 0, "1\u{202f}234", "thousands"),
        ("1\u{2009}005", 0, "1\u{2009}005", "thousands"),
        ("1.234", 0, "1.234", "thousands"),
        ("310.0", 0, "310.0", "digits alone"),
        ("3e2", 0, "3e2", "digits alone"),
    ] {
        let error = refused(text);
        assert_eq!(error, Error::MalformedCounts { index, word: word.into() });
        assert!(error.to_string().contains(hint), "{error}");
    }
    // Several classes, as a flag has them.
    assert_eq!("500,400,300".parse::<ClassCounts>().unwrap().counts(), [500, 400, 300]);
    assert_eq!("1,234".parse::<ClassCounts>().unwrap().counts(), [1, 234]);
}

#[test]
fn absurd_numbers_of_classes_are_refused_before_memory_is_asked_for() {
    for classes in [usize::MAX, 1 << 62, 1 << 50] {
        assert!(matches!(ClassCounts::balanced(classes, 1), Err(Error::TooLarge { .. })));
        assert!(matches!(ClassCounts::step(classes, 1, 9, 2.0), Err(Error::TooLarge { .. })));
        assert!(matches!(ClassCounts::step(1, classes, 9, 2.0), Err(Error::TooLarge { .. })));
        assert!(matches!(ClassCounts::long_tail(classes, 9, 2.0), Err(Error::TooLarge { .. })));
        assert!(matches!(ClassCounts::from_labels([0], classes), Err(Error::TooLarge { .. })));
    }
}

#[test]
fn text_has_commas_spaces_and_lines() {
    let classes: ClassCounts = "500, 600x5\n20X2\t7\r\n".parse().unwrap();
    assert_eq!(classes.counts(), [500, 600, 600, 600, 600, 600, 20, 20, 7]);
    assert_eq!(classes.to_string(), "500,600x5,20x2,7");
}

#[test]
fn labels_are_counted() {
    assert_eq!(ClassCounts::from_labels([2, 0, 2, 1], 3).unwrap().counts(), [1, 1, 2]);
    let beyond = ClassCounts::from_labels([0, 3, 1], 3).unwrap_err();
    assert_eq!(beyond, Error::LabelOutOfRange { index: 1, label: 3, classes: 3, from_one: false });
    assert!(beyond.to_string().contains("0 to 2"));
    // Only where the label is the number of classes and no label is 0, before or after it.
    let asks = |labels: &[usize]| {
        let text = ClassCounts::from_labels(labels.iter().copied(), 3).unwrap_err().to_string();
        text.ends_with(": are they counted from 1?")
    };
    assert!(asks(&[1, 3, 2]) && asks(&[3]));
    assert!(!asks(&[0, 3, 1]) && !asks(&[3, 0]) && !asks(&[1, 4, 3]));
    assert_eq!(ClassCounts::from_labels([0, 2], 3), Err(Error::ZeroCount { class: 1 }));
    assert_eq!(ClassCounts::from_labels([], 0), Err(Error::NoClasses));
    assert_eq!(ClassCounts::from_labels([0], 0), Err(Error::NoClasses));
}

#[test]
fn profiles_are_those_of_the_literature() {
    let cifar = ClassCounts::paper_cifar10();
    assert_eq!(cifar, "500x2,400x2,300x2,200x2,100x2".parse().unwrap());
    assert_eq!(cifar.samples(), 3000);
    let letters = ClassCounts::paper_emnist_letters();
    assert_eq!(letters, "1500,600x5,50x20".parse().unwrap());
    assert_eq!((letters.classes(), letters.samples(), letters.imbalance_ratio()), (26, 5500, 30.0));
    assert_eq!(ClassCounts::step(2, 3, 500, 10.0).unwrap().counts(), [500, 500, 50, 50, 50]);
    assert_eq!(ClassCounts::step(1, 1, 5, 100.0), Err(Error::ZeroCount { class: 1 }));
    assert_eq!(ClassCounts::long_tail(1, 7, 100.0).unwrap().counts(), [7]);
    assert_eq!(ClassCounts::long_tail(3, 7, 100.0), Err(Error::ZeroCount { class: 1 }));
    for ratio in [0.5, 0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(ClassCounts::step(1, 1, 5, ratio), Err(Error::Domain { .. })));
        assert!(matches!(ClassCounts::long_tail(2, 5, ratio), Err(Error::Domain { .. })));
    }
}

/// Whether `counts` are the floors of largest (smallest/largest)^(k/(K-1)), in whole numbers: c^(K-1) ≤
/// largest^(K-1-k) smallest^k < (c+1)^(K-1).
fn is_tail(counts: &[u64], largest: u64, smallest: u64) -> bool {
    let last = u32::try_from(counts.len() - 1).unwrap();
    let power = |base: u64, exponent: u32| BigUint::from(base).pow(exponent);
    counts.iter().zip(0_u32..).all(|(&count, k)| {
        let product = power(largest, last - k) * power(smallest, k);
        power(count, last) <= product && product < power(count + 1, last)
    })
}

/// All ratios of whole numbers up to 5000 that are whole numbers themselves: 43,376 of them. A floor after a rounded power
/// loses the last class of 1256.
#[test]
fn long_tails_with_exact_ratios_are_exact() {
    let mut tails = 0;
    for largest in 1..=5000_u64 {
        for smallest in (1..=largest).filter(|smallest| largest % smallest == 0) {
            tails += 1;
            let ratio = (largest / smallest) as f64;
            for classes in [2, 3, 10] {
                let tail = ClassCounts::long_tail(classes, largest, ratio).unwrap();
                assert!(is_tail(tail.counts(), largest, smallest), "{classes} {largest} {ratio}: {tail}");
            }
            // Powers of 99: of some tails only.
            let tail = ClassCounts::long_tail(100, largest, ratio).unwrap();
            let is_right = if tails % 97 == 0 { is_tail(tail.counts(), largest, smallest) } else { true };
            let ends = [tail.counts()[0], tail.counts()[99]];
            assert!(is_right && ends == [largest, smallest], "{largest} {ratio}: {tail}");
        }
    }
    assert_eq!(tails, 43_376);
    assert_eq!(ClassCounts::long_tail(100, 4980, 498.0).unwrap().counts()[99], 10);
    assert_eq!(ClassCounts::long_tail(10, 49, 49.0).unwrap().counts()[9], 1);
    // A whole number in the middle of a tail that ends in none: 10/√6.25 = 4.
    assert_eq!(ClassCounts::long_tail(3, 10, 6.25).unwrap().counts(), [10, 4, 1]);
}

#[test]
fn long_tails_between_two_counts_are_exact() {
    for largest in (1..=5000_u64).step_by(7) {
        for smallest in (1..=largest).step_by(61) {
            for classes in [2, 3, 5, 10] {
                let tail = ClassCounts::long_tail_between(classes, largest, smallest).unwrap();
                assert!(is_tail(tail.counts(), largest, smallest), "{classes} {largest} {smallest}: {tail}");
                // The ratio as it rounds.
                let ratio = largest as f64 / smallest as f64;
                assert_eq!(ClassCounts::long_tail(classes, largest, ratio).unwrap(), tail, "{largest} {smallest}");
            }
        }
    }
    // Powers of three, and counts that `f64` has the last digit of.
    assert_eq!(ClassCounts::long_tail_between(8, 2187, 1).unwrap().counts(), [2187, 729, 243, 81, 27, 9, 3, 1]);
    for (largest, smallest) in [(1 << 51, 1), (1 << 51, (1 << 51) - 1), ((1 << 51) - 1, 3), (999_999_999_999_989, 7)] {
        let tail = ClassCounts::long_tail_between(3, largest, smallest).unwrap();
        assert!(is_tail(tail.counts(), largest, smallest), "{largest} {smallest}: {tail}");
    }
    for (classes, largest, smallest) in [(5, 10, 0), (5, 10, 11), (1, 10, 9), (5, 0, 0)] {
        let refused = ClassCounts::long_tail_between(classes, largest, smallest);
        assert!(matches!(refused, Err(Error::Domain { argument: "smallest count", .. })), "{refused:?}");
    }
    assert_eq!(ClassCounts::long_tail_between(1, 10, 10).unwrap().counts(), [10]);
    assert_eq!(ClassCounts::long_tail_between(0, 10, 10), Err(Error::NoClasses));
    assert_eq!(ClassCounts::long_tail_between(2, u64::MAX, 1), Err(Error::TooManySamples { class: 0 }));
}

#[test]
#[should_panic(expected = "there is no group 99: there are 2, counted from 0")]
fn a_group_that_is_not_there_is_named() {
    let _ = ClassCounts::new([3, 2, 2]).unwrap().group(99);
}

proptest! {
    /// A ratio that is none of two counts: every count is the largest of those that a ratio which rounds to it allows.
    #[test]
    fn long_tails_are_floors(largest in 1_u64..1_000_000, classes in 2_usize..8, ratio in 1.0..1e4_f64) {
        prop_assume!(largest as f64 >= 2.0 * ratio);
        let tail = ClassCounts::long_tail(classes, largest, ratio).unwrap();
        let last = u32::try_from(classes - 1).unwrap();
        // With m of 53 bits, `ratio` = m 2^(e-52), and half way to the number below it (2m - 1) 2^(e-53).
        let below = BigUint::from(2 * (ratio.to_bits() & ((1 << 52) - 1) | (1 << 52)) - 1);
        let shift = 53 + 1023 - u32::try_from(ratio.to_bits() >> 52).unwrap();
        let power = |base: u64, exponent: u32| BigUint::from(base).pow(exponent);
        for (&count, k) in tail.counts().iter().zip(0_u32..) {
            // c^(K-1) ratio^k ≤ largest^(K-1), times the denominators.
            let holds = |count: u64| power(count, last) * below.pow(k) <= power(largest, last) << (shift * k);
            prop_assert!(holds(count) && !holds(count + 1), "{} {} {}", k, count, tail);
        }
    }

    #[test]
    fn groups_partition_the_classes(counts in prop::collection::vec(1_u64..8, 1..40)) {
        let classes = ClassCounts::new(counts.as_slice()).unwrap();
        let mut seen = vec![false; counts.len()];
        let mut last = u64::MAX;
        for group in classes.groups() {
            prop_assert!(group.count < last);
            last = group.count;
            prop_assert!(group.classes.is_sorted());
            for &class in group.classes {
                prop_assert_eq!(counts[class], group.count);
                prop_assert!(!std::mem::replace(&mut seen[class], true));
            }
        }
        prop_assert!(seen.iter().all(|&seen| seen));
        prop_assert_eq!(classes.groups().map(|group| group.count * group.multiplicity() as u64).sum::<u64>(), classes.samples());
        prop_assert_eq!(classes.to_string().parse::<ClassCounts>().unwrap(), classes);
    }

    #[test]
    fn no_text_panics(text in "[0-9x, \n\\-.e]{0,40}") {
        let _ = text.parse::<ClassCounts>();
    }
}
