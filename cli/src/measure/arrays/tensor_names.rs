//! Names of tensors: those that a person may have meant.

/// Names that an error lists.
const MOST_LISTED: usize = 10;
const NEAREST: usize = 3;

/// Characters of a name that are compared and shown: the comparison takes the product of two lengths.
const LONGEST: usize = 200;

/// Several tensors, and none of them named.
pub(super) fn which(names: &[String]) -> String {
    if names.is_empty() {
        return "it has no tensors".into();
    }
    let listed = list(names.iter().take(MOST_LISTED));
    let more = match names.len().saturating_sub(MOST_LISTED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("which tensor? After a colon name one of {listed}{more}")
}

/// No tensor of this name.
pub(super) fn missing(name: &str, names: &[String]) -> String {
    let shown = cut(name);
    if names.is_empty() {
        return format!("no tensor {shown:?}: it has no tensors");
    }
    if names.len() <= NEAREST {
        return format!("no tensor {shown:?}: there are {}", list(names.iter()));
    }
    // Pairs of letters find a name with another prefix, edits find one with a slip of the finger.
    let likeness = |other: &str| {
        let other = cut(other);
        strsim::sorensen_dice(&shown, &other) + strsim::normalized_damerau_levenshtein(&shown, &other)
    };
    let mut ranked: Vec<_> = names.iter().map(|other| (likeness(other), other)).collect();
    ranked.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let nearest = list(ranked.into_iter().take(NEAREST).map(|(_, name)| name));
    format!("no tensor {shown:?}: the nearest of its {} names are {nearest}", names.len())
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| cut(name).escape_debug().to_string()).collect::<Vec<_>>().join(", ")
}

fn cut(name: &str) -> String {
    name.chars().take(LONGEST).collect()
}
