//! Enough of Rust's grammar to find functions and the arms of a match.
//!
//! Comments and the insides of strings are blanked first, with every line kept in its place, so
//! that braces can be counted.

/// The text with comments, strings and characters replaced by spaces.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at);
        for place in out.iter_mut().take(end).skip(at) {
            if *place != b'\n' {
                *place = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("whole characters were replaced")
}

/// Where the comment, string or character that starts at `at` ends; `at` if none starts there.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let follows_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment(rest);
    }
    if let (false, Some(length)) = (follows_word, raw_string(rest)) {
        return at + length;
    }
    match rest[0] {
        b'"' => at + quoted(rest, b'"'),
        b'\'' if is_character(rest) => at + quoted(rest, b'\''),
        _ => at,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            Some(_) => at += 1,
            None => return rest.len(),
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// The length of a raw string, which ends at a quote with as many `#` as it began with.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"br"[..], b"r"].into_iter().find(|prefix| rest.starts_with(prefix))?.len();
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let start = prefix + hashes;
    if rest.get(start) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let found = rest[start + 1..].windows(close.len()).position(|window| window == close);
    Some(found.map_or(rest.len(), |place| start + 1 + place + close.len()))
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Tells `'a'` from the lifetime `'a`: a character ends with a quote, a lifetime does not.
fn is_character(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(first) if first.is_ascii() => rest.get(2) == Some(&b'\''),
        // A letter beyond ASCII has at most four bytes.
        Some(_) => rest.iter().skip(2).take(4).any(|byte| *byte == b'\''),
        None => false,
    }
}

/// A function: its name, its first line (from 1) and how many lines it has.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Every function with a body.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let Some(open) = body(code, at) else { continue };
        let name = code[at + 2..].trim_start();
        let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        if name.is_empty() {
            continue;
        }
        let close = closing(code, open);
        let line = line_of(code, at);
        found.push(Function {
            name: name.to_owned(),
            line,
            lines: line_of(code, close) - line + 1,
        });
    }
    found
}

/// An arm of a match: the pattern with its guard, and the line it starts on.
pub(crate) struct Arm {
    pub(crate) pattern: String,
    pub(crate) line: usize,
}

/// The arms of every match, one list per match.
pub(crate) fn matches(code: &str) -> Vec<Vec<Arm>> {
    let opens = words(code, "match").into_iter().filter_map(|at| body(code, at));
    opens.map(|open| arms(code, open)).collect()
}

fn arms(code: &str, open: usize) -> Vec<Arm> {
    let end = closing(code, open);
    let mut arms = Vec::new();
    let mut at = open + 1;
    while let Some(arrow) = find_at_depth(code, at, end, "=>") {
        let pattern = code[at..arrow].trim().to_owned();
        let start = at + code[at..arrow].len() - code[at..arrow].trim_start().len();
        arms.push(Arm { pattern, line: line_of(code, start) });
        let value = arrow + 2 + leading_space(&code[arrow + 2..]);
        at = match code[value..].starts_with('{') {
            true => closing(code, value) + 1,
            false => find_at_depth(code, value, end, ",").unwrap_or(end),
        };
        at += leading_space(&code[at..]);
        at += usize::from(code[at..].starts_with(','));
    }
    arms
}

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// Where a word stands by itself.
fn words(code: &str, word: &str) -> Vec<usize> {
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'#')
    };
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            !is_part(before) && !is_part(bytes.get(at + word.len()))
        })
        .collect()
}

/// The brace that opens what `at` announces; none if a `;` comes first.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0;
    for (offset, byte) in code.as_bytes()[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' if depth == 0 => return None,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at + offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The brace that closes the one at `open`, or the end of the text.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (offset, byte) in code.as_bytes()[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + offset;
        }
    }
    code.len() - 1
}

/// Where `wanted` stands between two places, outside of every bracket.
fn find_at_depth(code: &str, from: usize, to: usize, wanted: &str) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut depth = 0;
    for at in from..to {
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ if depth == 0 && bytes[at..to].starts_with(wanted.as_bytes()) => return Some(at),
            _ => {}
        }
    }
    None
}

fn line_of(code: &str, at: usize) -> usize {
    code.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[test]
fn strings_and_comments_are_blanked_and_lines_kept() {
    let text = "let a = \"}\\\"{\"; // {\nlet b = r#\"\"{\"#; /* { /* } */ */ let c = '{';\n";
    let code = code_only(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.lines().count(), 2);
    assert!(!code.contains('{') && !code.contains('}'), "{code}");
    assert!(code.contains("let c"));
    assert!(code_only("fn of<'a>(text: &'a str) {}").contains("<'a>(text: &'a str) {}"));
}

#[test]
fn a_function_is_as_long_as_its_braces_are_apart() {
    let found = functions("trait T { fn a(); }\nfn b(x: [u8; 2]) -> u8 {\n    {\n    }\n}\n");
    assert_eq!(found, [Function { name: "b".to_owned(), line: 2, lines: 4 }]);
}

#[test]
fn arms_are_found_around_nested_matches() {
    let code = "match x {\n  A { b } if b => match y { C => 1, _ => 2 },\n\
                \x20 D => { f(1, 2) }\n  _ => 3,\n}";
    let patterns: Vec<Vec<String>> = matches(code)
        .into_iter()
        .map(|arms| arms.into_iter().map(|arm| arm.pattern).collect())
        .collect();
    assert_eq!(patterns, [vec!["A { b } if b", "D", "_"], vec!["C", "_"]]);
}
