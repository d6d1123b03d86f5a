//! Counts the tokens of a GraphQL text without parsing it.
//!
//! The parser's work grows with the tokens; this is what bounds it. Where the text is no GraphQL
//! the count does not matter, because the parser says so next.

/// How many tokens a text has, counted up to one more than `most`.
pub(super) fn count(text: &str, most: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut found) = (0, 0);
    while at < bytes.len() && found <= most {
        let next = bytes.get(at + 1..).unwrap_or_default();
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += bytes[at..].iter().take_while(|byte| **byte != b'\n').count();
                continue;
            }
            b'"' if next.starts_with(b"\"\"") => at = after_block(bytes, at + 3),
            b'"' => at = after_string(bytes, at + 1),
            byte if is_word(byte) => at += bytes[at..].iter().take_while(|b| is_word(**b)).count(),
            _ => at += 1,
        }
        found += 1;
    }
    found
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn after_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' | b'\n' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn after_block(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        if bytes[at..].starts_with(b"\\\"\"\"") {
            at += 4;
        } else if bytes[at..].starts_with(b"\"\"\"") {
            return at + 3;
        } else {
            at += 1;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn strings_and_comments_are_not_looked_into() {
        assert_eq!(count("{ a(b: \"{ { {\") } # { { {\n", 100), 8);
        assert_eq!(count("\"\"\"a \\\"\"\" b\"\"\" c", 100), 2);
        assert_eq!(count("", 100), 0);
    }

    #[test]
    fn counting_ends_beyond_the_bound() {
        assert_eq!(count(&"a ".repeat(1_000), 10), 11);
    }
}
