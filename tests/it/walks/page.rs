//! A page of the documents, read as what its reader does and is shown, in the order of the page.
//!
//! Commands stand in ```` ```sh ```` blocks, behind a `$` at the top of a ```` ```text ```` block,
//! and between backticks in sentences. Below a `$` stands what that command prints, and the next
//! one. A ```` ```text ```` block that comes next after a command is what that command prints.

/// One thing to do or to see.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A command as it is typed.
    Command(String),
    /// What the command before it prints.
    Printed(String),
    /// A document for the API.
    Graphql(String),
    /// A block of another kind.
    Other(String),
}

/// How a command begins that is named in a sentence. Without an argument it is only a name.
const NAMED: [&str; 4] = ["./ops ", "opscenter ", "opscenter-replay ", "DATABASE_URL="];

/// Reads a page.
pub(crate) fn parts(page: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = page.lines();
    let mut sentences = String::new();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            parts.extend(named(&std::mem::take(&mut sentences)));
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            add_block(&mut parts, language, &block.join("\n"));
        } else if line.is_empty() {
            parts.extend(named(&std::mem::take(&mut sentences)));
        } else {
            sentences.push_str(line);
            sentences.push(' ');
        }
    }
    parts.extend(named(&sentences));
    parts
}

fn add_block(parts: &mut Vec<Part>, language: &str, block: &str) {
    let follows_command = matches!(parts.last(), Some(Part::Command(_)));
    match (language, block.strip_prefix("$ ")) {
        ("sh", _) => parts.extend(commands(block).into_iter().map(Part::Command)),
        ("graphql", _) => parts.push(Part::Graphql(block.to_owned())),
        ("text", Some(typed)) => {
            for typed in typed.split("\n$ ") {
                let (command, printed) = typed.split_once('\n').unwrap_or((typed, ""));
                parts.push(Part::Command(command.to_owned()));
                if !printed.is_empty() {
                    parts.push(Part::Printed(printed.to_owned()));
                }
            }
        }
        ("text", None) if follows_command => parts.push(Part::Printed(block.to_owned())),
        _ => parts.push(Part::Other(block.to_owned())),
    }
}

/// The commands in sentences: every second piece between backticks is code.
fn named(sentences: &str) -> Vec<Part> {
    let pieces: Vec<&str> = sentences.split('`').collect();
    assert!(pieces.len() % 2 == 1, "a backtick without its other half: {sentences}");
    let code = pieces.into_iter().skip(1).step_by(2);
    let commands = code.filter(|code| NAMED.iter().any(|start| code.starts_with(start)));
    commands.map(|command| Part::Command(command.to_owned())).collect()
}

/// The commands of a shell block. One goes on after a backslash, and inside of single quotes.
pub(crate) fn commands(block: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut typed = String::new();
    for line in block.lines().map(str::trim).filter(|line| !line.is_empty()) {
        typed.push_str(line);
        if line.ends_with('\\') || typed.matches('\'').count() % 2 == 1 {
            typed.push('\n');
        } else {
            commands.push(std::mem::take(&mut typed));
        }
    }
    assert!(typed.is_empty(), "a command without its end: {typed}");
    commands
}

#[test]
fn a_page_is_read_in_its_order() {
    let page = "Start with `./ops\ndemo`, not `opscenter`.\n\n```sh\na \\\n  b '{\n}'\nc\n```\n\n\
                It prints:\n\n```text\nthis\n```\n\n```text\n$ d\nthat\n$ e\n$ f\n```\n\
                And:\n```text\n$ g\nthem\n```\n\
                ```text\nnothing\n```\n```graphql\n{ h }\n```\n";
    let command = |text: &str| Part::Command(text.to_owned());
    let printed = |text: &str| Part::Printed(text.to_owned());
    let expected = vec![
        command("./ops demo"),
        command("a \\\nb '{\n}'"),
        command("c"),
        printed("this"),
        command("d"),
        printed("that"),
        command("e"),
        command("f"),
        command("g"),
        printed("them"),
        Part::Other("nothing".to_owned()),
        Part::Graphql("{ h }".to_owned()),
    ];
    assert_eq!(parts(page), expected);
}
