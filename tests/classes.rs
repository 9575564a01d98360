//! Class counts: what is accepted, what is refused and how, and how they are grouped.

use neural_collapse::{ClassCounts, Error};
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
    assert_eq!(beyond, Error::LabelOutOfRange { index: 1, label: 3, classes: 3 });
    assert!(beyond.to_string().contains("0 to 2"));
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

proptest! {
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
