//! The command as packagers and shells see it: completions, man pages, help.

mod program;

use std::process::Command;

use program::program;

#[test]
fn completions_know_every_subcommand() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = program("completions", shell).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{shell}");
        for subcommand in ["predict", "descend", "measure", "figures"] {
            assert!(text.contains(subcommand), "{shell} does not complete {subcommand}");
        }
    }
}

#[test]
fn man_pages_are_written_for_every_subcommand() {
    let folder = std::env::temp_dir().join(format!("neural-collapse-man-{}", std::process::id()));
    let output = program("man", &format!("--out {}", folder.display())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for page in ["neural-collapse", "neural-collapse-predict", "neural-collapse-measure"] {
        let text = std::fs::read_to_string(folder.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let output = program("man", "--out /dev/null/man").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--out /dev/null/man"));
}

#[test]
fn help_names_what_people_can_do_and_hides_the_rest() {
    let output = Command::new(env!("CARGO_BIN_EXE_neural-collapse")).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for subcommand in ["predict", "descend", "measure", "figures"] {
        assert!(text.contains(subcommand));
    }
    assert!(!text.contains("completions") && text.contains("Start here"));
    let output = Command::new(env!("CARGO_BIN_EXE_neural-collapse")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "without a subcommand the command says what there is");
}
