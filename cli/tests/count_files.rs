//! Files of class counts, as people have them: what is read, and what is refused because it may be something else.

mod program;

// Tests read bytes, programs read paths.
#[allow(dead_code)]
#[path = "../src/shared/counts/mod.rs"]
mod counts;

use std::{
    io::Write,
    path::PathBuf,
    process::{Output, Stdio},
};

use neural_collapse::ClassCounts;
use program::program;
use proptest::prelude::*;

const MODEL: &str = "--widths 8 --layer-decay 1e-3 --feature-decay 1e-4 --json";

/// A file: its bytes, the column asked for, and the counts in the text form.
type Accepted = (&'static [u8], Option<&'static str>, &'static str);

/// A file: its bytes, the column asked for, and what the refusal says.
type Refused = (&'static [u8], Option<&'static str>, &'static [&'static str]);

#[rustfmt::skip]
const LISTS: &[Accepted] = &[
    // One count a line, several, and both.
    (b"500\n400\n300", None, "500,400,300"),
    (b"9\n9, 9\n5\n", None, "9x3,5"),
    (b"500,400,300", None, "500,400,300"),
    (b"500, 400, 300\n", None, "500,400,300"),
    (b"500 400 300", None, "500,400,300"),
    (b"500\t400\t300", None, "500,400,300"),
    (b"500x2,600X5\n20", None, "500x2,600x5,20"),
    (b"600x5,1234,20", None, "600x5,1234,20"),
    (b"42", None, "42"),
    // Several lines of the same number of counts each.
    (b"500,400\n300,200\n", None, "500,400,300,200"),
    (b"500,400,300\n200,100,50\n", None, "500,400,300,200,100,50"),
    (b"500 400\n300 200\n", None, "500,400,300,200"),
    (b"10,20,30\n40,50,60\n", None, "10,20,30,40,50,60"),
    (b"1,2,3\n4,5,6\n", None, "1,2,3,4,5,6"),
    (b"1 2\n3 4\n5 6\n", None, "1,2,3,4,5,6"),
    (b"1000,20\n3000,40\n", None, "1000,20,3000,40"),
    (b"50,100,200\n60,110,210\n", None, "50,100,200,60,110,210"),
    // How to say that these are two classes.
    (b"1, 234", None, "1,234"),
    (b"1 234", None, "1,234"),
    (b"1x1,234x1", None, "1,234"),
    (b"1\n234", None, "1,234"),
    (b"5, 923\n6, 742", None, "5,923,6,742"),
    (b"20,500,100", None, "20,500,100"),
    (b"1500,600,600\n20,500", None, "1500,600x2,20,500"),
    // Wrapped lists.
    (b"1500 600 600 600\n20 500", None, "1500,600x3,20,500"),
    (b"100,200,300,400,\n500,600\n", None, "100,200,300,400,500,600"),
    // Trailing commas, empty lines, spaces around.
    (b"500,\n400,\n300,\n", None, "500,400,300"),
    (b"\n\n500\n\n400\n\n", None, "500,400"),
    (b"  500 \n\t400\t\n", None, "500,400"),
    (b"500,\xc2\xa0400", None, "500,400"),
    // Whole numbers, however they are written.
    (b"310.\n200.0\n3.1e2\n1E3\n2e+2\n0.31e3\n1.5e1", None, "310,200,310,1000,200,310,15"),
    (b"5.000000000000000000e+02\n4.000000000000000000e+01", None, "500,40"),
    (b"1234.000", None, "1234"),
    (b"1000e-2", None, "10"),
    (b"9007199254740992.0", None, "9007199254740992"),
    (b"4503599627370497.0\n4503599627370495e0", None, "4503599627370497,4503599627370495"),
    // A header of one column.
    (b"count\n500\n400\n", None, "500,400"),
    (b"\"count\"\r\n\"500\"\r\n\"400\"\r\n", None, "500,400"),
    (b"samples per class\n500\n400\n", None, "500,400"),
    (b"# counts\n500\n400\n", None, "500,400"),
    (b"n_k,\n500,\n400,\n", None, "500,400"),
    (b"count\n600x5\n20\n", None, "600x5,20"),
    (b"\"500\",\"400\"", None, "500,400"),
    (b"\"500\",\n\"400\",\n", None, "500,400"),
    // Encodings and line ends.
    (b"\xef\xbb\xbf500\n400", None, "500,400"),
    (b"\xef\xbb\xbfcount\n500\n400", None, "500,400"),
    (b"\xff\xfe5\x000\x000\x00\r\x00\n\x004\x00", None, "500,4"),
    (b"\xfe\xff\x005\x000\x000\x00\n\x004", None, "500,4"),
    (b"500\r\n400\r\n", None, "500,400"),
    (b"500\r400\r", None, "500,400"),
];

#[rustfmt::skip]
const JSON: &[Accepted] = &[
    (b"[500,400]", None, "500,400"),
    (b"[500]\n", None, "500"),
    (b"  [\n  500,\n\t400\r\n]\n\n", None, "500,400"),
    (b"[500, 400.0]", None, "500,400"),
    (b"[310.0, 3.1e2, 3E+2]", None, "310x2,300"),
    (b"[9007199254740991.0]", None, "9007199254740991"),
    (b"[1,234]", None, "1,234"),
    (b"\xef\xbb\xbf[500]", None, "500"),
    (b"\xff\xfe[\x005\x00]\x00", None, "5"),
];

#[rustfmt::skip]
const TABLES: &[Accepted] = &[
    (b"class,count\ncat,500\ndog,400\n", Some("count"), "500,400"),
    (b"class,count\ncat,500\ndog,400\n", Some("1"), "500,400"),
    (b"class;count\r\ncat;500\r\n", Some("count"), "500"),
    (b"class\tcount\ncat\t500\ndog\t400", Some("count"), "500,400"),
    (b"class,count\rcat,500\rdog,400\r", Some("count"), "500,400"),
    (b",count\n0,500\n1,400\n", Some("count"), "500,400"),
    (b",count\n0,500\n1,400\n", Some("1"), "500,400"),
    (b"0,500\n1,400\n", Some("1"), "500,400"),
    (b"1,500\n2,400\n", Some("1"), "500,400"),
    (b"2 500\n2 400\n", Some("1"), "500,400"),
    (b"    500 0\n     40 1\n", Some("0"), "500,40"),
    (b"cat 500\ndog 400\n", Some("1"), "500,400"),
    (b"count class\n500 cat\n400 dog\n", Some("count"), "500,400"),
    (b"\"a, b\",500\n\"c \"\"d\"\"\",400", Some("1"), "500,400"),
    (b"\"the class\",\"n_2020\" \ncat, 500 \ndog,400", Some("n_2020"), "500,400"),
    (b"count\n500\n400\n", Some("count"), "500,400"),
    (b"count\n500\n400\n", Some("0"), "500,400"),
    (b"samples per class\n500\n400\n", Some("samples per class"), "500,400"),
    (b"500\n400\n", Some("0"), "500,400"),
    (b"a,a,count\n1,2,310.0\n3,4,3.1e2\n", Some("2"), "310x2"),
    (b"a;b\nx;500\n\ny;400\n;\n", Some("b"), "500,400"),
    (b"\xff\xfea\x00,\x00b\x00\n\x001\x00,\x005\x00", Some("b"), "5"),
];

#[rustfmt::skip]
const THOUSANDS: &[Refused] = &[
    (b"1,005", None, &["line 1", "\"1,005\"", "a comma between thousands", "write 1005"]),
    (b"5,000\n2,997\n1,796\n1,077\n645\n", None, &["line 1", "write 5000"]),
    (b"1,234", None, &["write 1234", "if these are several classes, write 1, 234"]),
    (b"1,234\n987\n", None, &["line 1", "write 1234"]),
    (b"987\n1,234\n", None, &["line 2", "write 1234"]),
    (b"5,923\n6,742\n5,958\n6,131\n", None, &["write 5923", "write 5, 923"]),
    (b"12,345\n123,456\n", None, &["write 12345"]),
    (b"1,234 987 45", None, &["write 1234"]),
    (b"1,234, 987, 45", None, &["write 1234"]),
    (b"1,234,567\n98,765\n", None, &["write 1234567"]),
    (b"count\n5,923\n6,742\n", None, &["line 2", "write 5923"]),
    (b"1,00,000\n", None, &["write 100000"]),
    (b"12,34,567\n987\n", None, &["write 1234567"]),
    (b"\"1,234\"\n\"987\"\n", None, &["line 1", "a comma", "write 1234"]),
    (b"\"5,923\",\"6,742\"", None, &["entry 0", "write 5923"]),
    (b"1\xc2\xa0234\n987\n", None, &["line 1, entry 0", "a no-break space (U+00A0)", "write 1234"]),
    (b"500\n1\xe2\x80\xaf005\n", None, &["line 2, entry 1", "U+202F", "write 1005"]),
    (b"1\xe2\x80\x89234\n", None, &["U+2009", "write 1234"]),
    (b"12\xc2\xa034\n", None, &["a no-break space", "separated by commas, spaces or line ends"]),
    (b"\xff\xfe1\x00\xa0\x000\x000\x005\x00", None, &["U+00A0", "write 1005"]),
    (b"1\xa0005\n", None, &["line 1", "0xA0", "between thousands", "UTF-8"]),
    (b"1'005\n", None, &["an apostrophe", "write 1005"]),
    (b"1\xe2\x80\x99234\n", None, &["U+2019", "write 1234"]),
    (b"1_005", None, &["an underscore", "write 1005"]),
    (b"1.005\n", None, &["a point between thousands", "write 1005"]),
    (b"310.000\n", None, &["a point between thousands", "write 310000 or 310"]),
    (b"1.234.567\n", None, &["write 1234567"]),
    (b"1 005\n", None, &["a space between thousands", "write 1005"]),
    (b"5 923\n6 742\n", None, &["a space between thousands", "write 5923", "write 5, 923"]),
    (b"1 234\n987\n", None, &["write 1234"]),
    (b"[1,005]", None, &["JSON", "a leading zero, or a separator between thousands?"]),
    (b"class,count\ncat,\"1,005\"\n", Some("count"), &["line 2, column 1", "write 1005"]),
    (b"class;count\ncat;1.234\n", Some("count"), &["line 2, column 1", "write 1234"]),
    (b"class;count\ncat;1 234\n", Some("count"), &["a space between thousands"]),
    (b"class;count\ncat;1,234\n", Some("count"), &["a comma between thousands"]),
];

#[rustfmt::skip]
const IDS: &[Refused] = &[
    (b"0,500\n1,400\n2,300\n", None, &["column 0", "is 0, 1, 2", "ids of classes", "--counts-column 1", "one a line"]),
    (b"1,500\n2,400\n", None, &["is 1, 2:", "--counts-column 1"]),
    (b"0\t500\n1\t400\n", None, &["--counts-column 1"]),
    (b"0 500\n1 400\n", None, &["--counts-column 1"]),
    (b"3 500\n1 400\n2 300\n4 1\n", None, &["is 3, 1, 2, ...", "--counts-column 1"]),
    (b"1, 5000\n2, 2997\n3, 1796\n", None, &["--counts-column 1"]),
    (b"1,500,7\n2,400,8\n", None, &["column 0 (counted from 0) of 3", "--counts-column"]),
    (b"   500 0\n    40 1\n     3 2\n", None, &["column 1", "--counts-column 0"]),
    (b"500 1\n40 2\n", None, &["column 1", "--counts-column 0"]),
    // Ids with gaps, as those of COCO.
    (b"1 262465\n2 7113\n4 43867\n", None, &["ids of classes"]),
    (b"0;500\n1;400\n", None, &["line 1, entry 0", "semicolon", "--counts-column"]),
    (b"cat,500\ndog,400\n", None, &["line 1, entry 0", "\"cat\" looks like a name", "--counts-column"]),
    (b"cat 500\n", None, &["\"cat\"", "--counts-column"]),
    (b"class,count\n0,500\n1,400\n", None, &["line 1 is a header of 2 columns", "--counts-column NAME or INDEX (from 0)"]),
    (b"class\tcount\n", None, &["header of 2 columns"]),
    (b",count\n0,500\n", None, &["header of 2 columns"]),
    (b"class count\n0 500\n1 400\n", None, &["column 0", "--counts-column 1"]),
    (b"class count\n7 500\n9 400\n", None, &["line 1 is a header and line 2 has 2 numbers", "--counts-column"]),
    (b"1 2 3\n500 400 300\n", None, &["the first of two lines", "delete it"]),
    (b"0: 500\n1: 400\n", None, &["line 1, entry 0", "\"0:\"", "key with a value", "order of the classes"]),
    (b"cat: 500\n", None, &["key with a value"]),
    (b"{\"cat\": 500, \"dog\": 400}", None, &["JSON object", "[500, 400]"]),
    (b"[[0, 500], [1, 400]]", None, &["entry 0", "[0, 500]", "the counts alone"]),
    (b"[{\"class\": 0}]", None, &["entry 0", "the counts alone"]),
    (b"Counter({0: 500, 1: 400})", None, &["line 1, entry 0", "key with a value"]),
    (b"tensor([500, 400])", None, &["line 1, entry 0", "tensor([500"]),
];

#[rustfmt::skip]
const WORDS: &[Refused] = &[
    (b"500\n005\n", None, &["line 2, entry 1", "\"005\" has a leading zero"]),
    (b"005", None, &["leading zero"]),
    (b"00", None, &["leading zero"]),
    (b"05x3", None, &["leading zero"]),
    (b"5x03", None, &["leading zero"]),
    (b"3.5", None, &["line 1, entry 0", "\"3.5\" is not a whole number"]),
    (b"3.15e1", None, &["not a whole number"]),
    (b"1e-2", None, &["not a whole number"]),
    (b"1e400", None, &["not a count"]),
    (b"1e17", None, &["2^53"]),
    (b"9007199254740992.5", None, &["not a whole number"]),
    (b"9007199254740993.0", None, &["2^53"]),
    (b"99999999999999999999", None, &["not a whole number that can be a count"]),
    (b"1e99999999999999999999", None, &["\"1e99999999999999999999\""]),
    (b"+5", None, &["has a sign"]),
    (b"500\n-3", None, &["line 2, entry 1", "\"-3\" has a sign"]),
    (b"5,0,3", None, &["line 1, entry 1", "is 0", "labels"]),
    (b"0\n1\n1\n0\n", None, &["line 1, entry 0", "labels", "pandas"]),
    (b"0.0", None, &["is 0"]),
    (b"5x0", None, &["\"5x0\" is not a count", "CxM"]),
    (b"0x1F4", None, &["\"0x1F4\""]),
    (b"x5\n4", None, &["\"x5\""]),
    (b"5oo\n400", None, &["\"5oo\" is not a count"]),
    (b"l00\n400", None, &["\"l00\""]),
    (b"nan\n400", None, &["\"nan\" is not a number"]),
    (b"500\nNaN", None, &["line 2, entry 1", "NaN"]),
    (b"500\nnull", None, &["\"null\" is not a number"]),
    (b"500\ntotal\n", None, &["line 2, entry 1", "looks like a name"]),
    (b"count\n500\ncount\n400\n", None, &["line 3", "looks like a name"]),
    (b"5,,3", None, &["line 1, entry 1", "missing"]),
    (b"500\n,400", None, &["line 2, entry 1", "missing"]),
    (b"20\n\n\"500\n400\"\n", None, &["line 3: a cell", "is a quote missing?"]),
    (b"500\n\"400\",,\"300\"\n", None, &["line 2, entry 2", "missing"]),
    (b"5,3,,", None, &["line 1, entry 2", "missing"]),
    (b",", None, &["missing"]),
    (b"count\n", None, &["line 1 is a header, and no counts follow"]),
    (b"500\n\xef\xbc\x95\n", None, &["line 2, entry 1"]),
    (b"1x9007199254740992", None, &["memory"]),
    (b"[500, 3.5]", None, &["entry 1 (counted from 0)", "not a whole number"]),
    (b"[500, -3]", None, &["entry 1", "sign"]),
    (b"[500, \"400\"]", None, &["entry 1", "not a number"]),
    (b"[500, null]", None, &["entry 1", "null"]),
    (b"[500, 0]", None, &["entry 1", "is 0"]),
    (b"[]", None, &["list is empty"]),
    (b"[500 400 300]", None, &["JSON", "line 1 column", "tolist"]),
    (b"[500,\n400", None, &["JSON", "line 2"]),
    (b"[500] 400", None, &["JSON"]),
    (b"[1e17]", None, &["2^53"]),
];

#[rustfmt::skip]
const COLUMNS: &[Refused] = &[
    (b"class,count\ncat,500\n", Some("n"), &["no such column", "2 columns: \"class\", \"count\""]),
    (b"class,count\ncat,500\n", Some("2"), &["no such column", "2 columns"]),
    (b"class,count\ncat,500\n", Some("-1"), &["no such column"]),
    (b"count,count\n5,500\n", Some("count"), &["columns 0 and 1", "index"]),
    (b"class,count\ncat,500\ndog\n", Some("count"), &["line 3 has 1 cells, line 1 has 2"]),
    (b"class,count\n\n\ncat,500\n\ndog,4,5\n", Some("count"), &["line 6 has 3 cells, line 1 has 2"]),
    (b"class,count\ncat,\n", Some("count"), &["line 2, column 1", "missing"]),
    (b"class,count\ncat,500\ndog,NaN\n", Some("count"), &["line 3, column 1", "NaN"]),
    (b"class,count\ncat,0\n", Some("count"), &["line 2, column 1", "is 0"]),
    (b"class,count\ncat,007\n", Some("count"), &["line 2, column 1", "leading zero"]),
    (b"class,count\ncat,5x3\n", Some("count"), &["line 2, column 1"]),
    (b"class,count\n", Some("count"), &["line 1 is a header, and no counts follow"]),
    (b"class,count\n", Some("1"), &["line 1 is a header, and no counts follow"]),
    (b"class,n_2020\ncat,500\n", Some("1"), &["line 1, column 1", "\"n_2020\"", "--counts-column takes it"]),
    (b"id,2020\n7,500\n8,400\n", Some("1"), &["line 1 looks like a header"]),
    (b"class,0\n0,500\n", Some("0"), &["name of another, 1"]),
    (b"class,count\ncat,5\n\"dog,4\nbird,3\ncow,2\n", Some("count"), &["line 3: a cell", "is a quote missing?"]),
    (b"count,class\n500,\"cat\n400,dog\n300,\"bird\n", Some("count"), &["line 2: a cell", "is a quote missing?"]),
    (b"[500, 400]", Some("0"), &["JSON"]),
    (b"{\"count\": [500, 400]}", Some("count"), &["JSON"]),
];

#[rustfmt::skip]
const OTHER_FILES: &[Refused] = &[
    (b"", None, &["empty"]),
    (b" \n\t\r\n", None, &["empty"]),
    (b"\xef\xbb\xbf", None, &["empty"]),
    (b"", Some("count"), &["empty"]),
    (b"<!DOCTYPE html>\n<html>", None, &["HTML"]),
    (b"\n <table><tr><td>500</td></tr></table>", None, &["HTML"]),
    (b"\x93NUMPY\x01\x00v\x00{'descr': '<i8'}", None, &[".npy", "numpy.savetxt"]),
    (b"PK\x03\x04\x14\x00", None, &["ZIP", ".xlsx"]),
    (b"\x1f\x8b\x08\x00", None, &["gzip"]),
    (b"\x80\x04\x95", None, &["pickle", "json.dump"]),
    (b"\x40\x00\x00\x00\x00\x00\x00\x00{\"W\":", None, &["line 1", "NUL", "binary"]),
    (b"500\n400\0", None, &["line 2", "NUL"]),
    (b"5\x000\x000\x00\n\x004\x00", None, &["UTF-16 without a byte-order mark"]),
    (b"\x005\x000\x000\x00\n\x004", None, &["UTF-16 without a byte-order mark"]),
    (b"\xff\xfe5\x000", None, &["not valid UTF-16"]),
    (b"\xff\xfe\x00\xd8", None, &["not valid UTF-16"]),
    (b"500\r\n400\r\n\xe9t\xe9 300", None, &["line 3", "0xE9", "UTF-8"]),
    (b"500 \xef\xbb\xbf400", None, &["entry 1", "feff"]),
];

fn read(bytes: &[u8], column: Option<&str>) -> Result<ClassCounts, String> {
    counts::parse(bytes.to_vec(), column)
}

#[test]
fn reads_what_is_exact_and_unambiguous() {
    for (bytes, column, expected) in [LISTS, JSON, TABLES].concat() {
        let name = String::from_utf8_lossy(bytes);
        let counts = read(bytes, column).unwrap_or_else(|why| panic!("{name:?} {column:?}: {why}"));
        assert_eq!(counts, expected.parse().unwrap(), "{name:?} {column:?}");
    }
}

/// A file that is gone at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("neural-collapse-counts-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn predict(file: &File, column: Option<&str>) -> Output {
    let mut command = program("predict", MODEL);
    command.arg("--counts-file").arg(&file.0);
    if let Some(column) = column {
        command.arg("--counts-column").arg(column);
    }
    command.output().unwrap()
}

/// The program ends with 2 and one line that names the flag, the file, and all of what is expected.
fn assert_refused(cases: &[Refused], name: &str) {
    for &(bytes, column, expected) in cases {
        let shown = String::from_utf8_lossy(bytes);
        if let Ok(counts) = read(bytes, column) {
            panic!("{shown:?} {column:?} was read as {counts}");
        }
        let file = File::new(name, bytes);
        let output = predict(&file, column);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{shown:?}: {message}");
        let place = format!("error: --counts-file {}", file.0.display());
        assert!(message.starts_with(&place) && message.lines().count() == 1, "{shown:?}: {message}");
        assert!(output.stdout.is_empty());
        if let Some(column) = column {
            assert!(message.contains(&format!("--counts-column {column}: ")), "{shown:?}: {message}");
        }
        for part in expected {
            assert!(message.contains(part), "{part:?} is not in the message for {shown:?}: {message}");
        }
    }
}

#[test]
fn refuses_separators_between_thousands() {
    assert_refused(THOUSANDS, "thousands");
}

#[test]
fn refuses_ids_next_to_counts() {
    assert_refused(IDS, "ids");
}

#[test]
fn names_words_that_are_not_counts() {
    assert_refused(WORDS, "words");
}

#[test]
fn names_what_is_wrong_with_a_column() {
    assert_refused(COLUMNS, "columns");
}

#[test]
fn says_what_other_files_look_like() {
    assert_refused(OTHER_FILES, "others");
}

#[test]
fn the_way_out_of_a_refusal_is_accepted() {
    for (flag, expected) in
        [("--counts 1234", "1234"), ("--counts 1x1,234x1", "1,234"), ("--counts 500,400,300", "500,400,300")]
    {
        let output = program("predict", &format!("{flag} {MODEL}")).output().unwrap();
        let file = File::new("way-out", expected.replace(',', "\n").as_bytes());
        assert!(output.status.success());
        assert_eq!(output.stdout, predict(&file, None).stdout);
    }
    let table = File::new("table", b"1,500\n2,400\n");
    let list = File::new("list", b"500\n400\n");
    assert_eq!(predict(&table, None).status.code(), Some(2));
    assert_eq!(predict(&table, Some("1")).stdout, predict(&list, None).stdout);
}

#[test]
fn the_flag_refuses_leading_zeros_too() {
    let output = program("predict", &format!("--counts 1,005 {MODEL}")).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.starts_with("error: --counts: class counts: entry 1 (counted from 0) is \"005\""), "{message}");
    assert!(message.contains("thousands"), "{message}");
}

#[test]
fn columns_are_asked_of_files_alone() {
    for (arguments, named) in
        [("--counts 5,3 --counts-column 0", "--counts-column"), ("--counts-column 0", "--counts-file")]
    {
        let output = program("predict", &format!("{arguments} {MODEL}")).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.starts_with("error: ") && message.contains(named), "{message}");
    }
}

#[test]
fn descend_reads_the_same_files() {
    let file = File::new("descend", b"class,count\ncat,9\ndog,5\n");
    let run = |column: &str| {
        let arguments = format!("--counts-file {} {column} --steps 1 {MODEL}", file.0.display());
        program("descend", &arguments).output().unwrap()
    };
    assert_eq!(run("").status.code(), Some(2));
    assert!(run("--counts-column count").status.success());
}

#[test]
fn a_directory_and_a_missing_file_are_reported() {
    for (path, expected) in [("/", "directory"), ("/no/such/file", "No such file")] {
        let output = program("predict", &format!("--counts-file {path} {MODEL}")).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            message.starts_with(&format!("error: --counts-file {path}: ")) && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn endless_files_are_refused() {
    let output = program("predict", &format!("--counts-file /dev/zero {MODEL}")).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("--counts-file /dev/zero: larger than 64 MiB"), "{message}");
}

#[test]
#[cfg(unix)]
fn pipes_are_read_to_their_end() {
    // More than a pipe holds, so that it comes in pieces.
    let counts = "7\n".repeat(100_000);
    // /dev/stdin is a path to a pipe here, as <(command) is in a shell.
    for path in ["/dev/stdin", "-"] {
        let mut command = program("predict", &format!("--counts-file {path} {MODEL}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(counts.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["samples"], 700_000, "{path}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_standard_error_leaves_the_exit_status() {
    for (name, arguments) in [
        ("predict", "--counts 1,005 --widths 4 --layer-decay 1e-3 --feature-decay 1e-3"),
        ("descend", "--counts 3,2 --widths 4 --layer-decay 1e-3 --feature-decay 1e-3 --threads 0"),
        (
            "measure",
            "--weights /none.npy --features /none.npy --labels /none.npy --layer-decay 1 --feature-decay 1 \
             --loss-convention mean --feature-convention mean",
        ),
        ("figures", "--out /dev/null/figures"),
    ] {
        let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = program(name, arguments).stderr(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        let output = program(name, "--no-such-flag").stderr(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
    // Both are full: the result could not be written, which is not a refusal of the arguments.
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = program("predict", &format!("--counts 3,2 {MODEL}"));
    assert_eq!(command.stdout(full()).stderr(full()).status().unwrap().code(), Some(1));
}

#[test]
fn a_million_classes_are_a_normal_file() {
    let counts: Vec<u64> = (0..1_000_000).map(|k| 1 + (k * k) % 5000).collect();
    let expected = ClassCounts::new(counts.as_slice()).unwrap();
    let words: Vec<_> = counts.iter().map(u64::to_string).collect();
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let table: Vec<_> = words.iter().enumerate().map(|(k, word)| format!("class {k},{word}")).collect();
    for (text, column) in [
        (words.join("\n"), None),
        (words.join(", "), None),
        (format!("[{}]", words.join(",")), None),
        (quoted.join("\n"), None),
        (table.join("\n"), Some("1")),
    ] {
        assert_eq!(read(text.as_bytes(), column).as_ref(), Ok(&expected), "{}", &text[..20]);
    }
}

#[test]
fn deep_nesting_is_refused() {
    for deep in ["[".repeat(1_000_000), "[".repeat(1_000_000) + &"]".repeat(1_000_000)] {
        assert!(read(deep.as_bytes(), None).is_err());
    }
}

proptest! {
    /// What is read is what the library reads, whatever the file looks like: a suspicion refuses, and changes nothing.
    #[test]
    fn lists_are_read_as_the_library_reads_them(
        rows in prop::collection::vec(prop::collection::vec(1_u64..2000, 1..5), 1..8),
        comma in "(,|, | |\t|  )",
    ) {
        let text: String = rows.iter().map(|row| row.iter().map(u64::to_string).collect::<Vec<_>>().join(&comma) + "\n").collect();
        let expected = ClassCounts::new(rows.concat()).unwrap();
        match read(text.as_bytes(), None) {
            Ok(counts) => prop_assert_eq!(counts, expected),
            Err(why) => prop_assert!(why.contains("thousands") || why.contains("ids") || why.contains("first of two"), "{}", why),
        }
        // One a line, or with a comma and a space on one line, a list is not suspected.
        for text in [text.replace(comma.as_str(), "\n"), rows.concat().iter().map(u64::to_string).collect::<Vec<_>>().join(", ")] {
            prop_assert_eq!(read(text.as_bytes(), None), Ok(ClassCounts::new(rows.concat()).unwrap()));
        }
    }

    /// A whole number has one value, wherever its point is; one that is not whole is refused.
    #[test]
    fn decimals_are_exact(digits in 1_u64..9_007_199_254_740_993, shift in -20_i32..4, zeros in 0_usize..3) {
        let word = format!("{digits}.{}e{shift}", "0".repeat(zeros));
        let exact = if shift < 0 {
            let power = 10_u128.pow(shift.unsigned_abs());
            (u128::from(digits) % power == 0).then(|| u128::from(digits) / power)
        } else {
            Some(u128::from(digits) * 10_u128.pow(shift.unsigned_abs()))
        };
        let expected = exact.filter(|&count| count <= 1 << 53).map(|count| u64::try_from(count).unwrap());
        prop_assert_eq!(read(word.as_bytes(), None).ok().map(|counts| counts.samples()), expected, "{}", word);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[0-9x,;\"\n\t .e'\\[\\]ab]{0,40}") {
        for column in [None, Some("0"), Some("a")] {
            let _ = read(&bytes, column);
            let _ = read(text.as_bytes(), column);
        }
    }
}
