//! One count: a whole number, exact, or what is wrong with it.

/// What people put between thousands, besides a comma: points, apostrophes, underscores and spaces that do not break.
const SEPARATORS: [(char, &str); 11] = [
    (',', "a comma"),
    ('.', "a point"),
    ('\'', "an apostrophe"),
    ('\u{2019}', "an apostrophe (U+2019)"),
    ('_', "an underscore"),
    (' ', "a space"),
    ('\u{a0}', "a no-break space (U+00A0)"),
    ('\u{202f}', "a narrow no-break space (U+202F)"),
    ('\u{2007}', "a figure space (U+2007)"),
    ('\u{2009}', "a thin space (U+2009)"),
    ('\u{66c}', "an Arabic separator (U+066C)"),
];

/// Words that stand for a number that is missing: none of them is the name of a column.
const MISSING: [&str; 8] = ["nan", "na", "n/a", "null", "none", "inf", "infinity", "missing"];

/// The number of samples of a class, at least 1: `310`, `310.`, `310.0` or `3.1e2`.
pub(crate) fn count(word: &str) -> Result<u64, String> {
    match number(word)? {
        0 => Err(zero(word)),
        count => Ok(count),
    }
}

/// A whole number, or what is wrong with the word.
pub(crate) fn number(word: &str) -> Result<u64, String> {
    if word.contains('.') && reads_as_thousands(word.split('.')) {
        // 310.000 is 310 here and 310,000 there.
        return Err(thousands(word));
    }
    whole(word).ok_or_else(|| flaw(word))
}

/// Why a count is not zero.
pub(crate) fn zero(word: &str) -> String {
    let word = shown(word);
    format!("{word} is 0, a class needs at least 1 sample: are these labels or ids, or is it the header 0 of pandas?")
}

/// The value of a decimal that is a whole number, without a detour over `f64`; no sign and no leading zeros.
fn whole(word: &str) -> Option<u64> {
    let (mantissa, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || has_leading_zero(whole) || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let exponent: i64 = exponent.parse().ok()?;
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // What follows the last digit that is not zero.
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let power = exponent.checked_add(i64::try_from(zeros).ok()?)?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let power = 10_u64.checked_pow(u32::try_from(power).ok()?)?;
    significant.parse::<u64>().ok()?.checked_mul(power)
}

fn has_leading_zero(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0')
}

/// Whether pieces of digits are those of one number: 1,234 or 12,345,678, or 12,34,567 as in India.
pub(crate) fn reads_as_thousands<'a>(pieces: impl Iterator<Item = &'a str>) -> bool {
    let (mut lengths, mut first) = (Vec::new(), None);
    for piece in pieces {
        if !piece.bytes().all(|byte| byte.is_ascii_digit()) || lengths.len() > 6 {
            return false;
        }
        first.get_or_insert(piece);
        lengths.push(piece.len());
    }
    if first.is_none_or(|first| first.starts_with('0')) {
        return false;
    }
    match lengths.as_slice() {
        [1..=3, rest @ ..] if !rest.is_empty() && rest.iter().all(|&length| length == 3) => true,
        [1..=2, middle @ .., 3] => !middle.is_empty() && middle.iter().all(|&length| length == 2),
        _ => false,
    }
}

/// The suspicion that the word is one number, and how to write it.
pub(crate) fn thousands(word: &str) -> String {
    let digits: String = word.chars().filter(char::is_ascii_digit).collect();
    let name = separator(word).map_or("a separator", |(_, name)| name);
    // 310.000 may be 310 too.
    let decimal = whole(word).map_or_else(String::new, |count| format!(" or {count}"));
    format!("{} looks like one number with {name} between thousands: write {digits}{decimal}", shown(word))
}

/// The first separator in a word that has nothing else than digits.
fn separator(word: &str) -> Option<(char, &'static str)> {
    let find = |c: char| SEPARATORS.into_iter().find(|&(separator, _)| separator == c);
    let mut others = word.chars().filter(|c| !c.is_ascii_digit()).map(find);
    let first = others.next()??;
    others.all(|other| other.is_some()).then_some(first)
}

/// What is wrong with a word that is not a whole number.
fn flaw(word: &str) -> String {
    if word.is_empty() {
        return "it is missing".into();
    }
    if reads_as_thousands(word.split(|c: char| SEPARATORS.iter().any(|&(separator, _)| separator == c))) {
        return thousands(word);
    }
    let is_number = word.parse::<f64>().is_ok_and(f64::is_finite);
    let is_id = |part: &str| has_leading_zero(part) && part.bytes().all(|byte| byte.is_ascii_digit());
    let why = if word.split(['x', 'X']).any(is_id) {
        "has a leading zero: is it an id, or the end of a number with a separator between thousands?"
    } else if is_number && word.starts_with(['+', '-']) {
        "has a sign, counts have none"
    } else if is_number {
        "is not a whole number that can be a count"
    } else if let Some((_, name)) = separator(word) {
        return format!("{} has {name}: counts are separated by commas, spaces or line ends", shown(word));
    } else if word.contains(';') {
        "has a semicolon: in a table, say which column has the counts, --counts-column NAME or INDEX (from 0)"
    } else if word.contains([':', '=']) {
        "looks like a key with a value: write the counts alone, in the order of the classes"
    } else if is_missing(word) {
        "is not a number: every class needs its count"
    } else if is_name(word) {
        "looks like a name: in a table, say which column has the counts, --counts-column NAME or INDEX (from 0)"
    } else {
        "is not a count: accepted are whole numbers C >= 1, and in lists CxM (M classes of C samples each)"
    };
    format!("{} {why}", shown(word))
}

fn is_missing(word: &str) -> bool {
    MISSING.iter().any(|missing| word.eq_ignore_ascii_case(missing))
}

/// Whether a text can be the name of a column, and not a count with a slip of the finger: it has no digit.
pub(crate) fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_alphabetic() || " _-#./()%".contains(c);
    text.contains(char::is_alphabetic) && text.chars().all(is_part) && !is_missing(text)
}

/// A word as messages show it, with what cannot be seen escaped; the beginning of a long one.
pub(crate) fn shown(word: &str) -> String {
    match word.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}...", &word[..end]),
        None => format!("{word:?}"),
    }
}
