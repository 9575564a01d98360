//! `neural-collapse figures`: the figures of the gallery.

mod program;

use program::program;

#[test]
fn figures_are_written_whole() {
    let folder = std::env::temp_dir().join(format!("gallery-{}", std::process::id()));
    for (name, title) in [
        ("interlacing", "long tail"),
        ("staircase", "directions that are kept"),
        ("losses", "cross-entropy: angles between classifiers"),
        ("weights", "the decay from which on a group collapses"),
    ] {
        let output = program("figures", &format!("--only {name} --out {}", folder.display())).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let figure = std::fs::read_to_string(folder.join(format!("{name}.svg"))).unwrap();
        assert!(figure.trim_end().ends_with("</svg>") && figure.contains(title) && !figure.contains("NaN"));
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn mistakes_are_named() {
    for (flags, named) in [("--only none", "none"), ("--out /dev/null/figures", "--out /dev/null/figures")] {
        let output = program("figures", flags).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(named) && !message.contains("panicked"), "{message}");
    }
}
