//! The name that somebody may have meant.

/// The known name that is the fewest edits away from `name`; `None` where no name is known.
pub fn nearest<N: AsRef<str>>(known: impl IntoIterator<Item = N>, name: &str) -> Option<N> {
    known.into_iter().min_by_key(|known| edits(known.as_ref(), name))
}

/// The same as text, for a message: empty where no name is known.
pub fn nearest_name<'a>(known: &'a [String], name: &str) -> &'a str {
    nearest(known, name).map_or("", String::as_str)
}

/// How many letters have to be added, removed, replaced or swapped to get from one name to the other.
pub fn edits(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(one, other)
}
