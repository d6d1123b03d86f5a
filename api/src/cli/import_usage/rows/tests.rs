//! Files as they come: quotes, marks, line ends, cut-off rows, other encodings.

use super::*;

fn read(format: Format, text: &[u8]) -> Result<Vec<String>, FileFault> {
    let columns = vec!["at".to_owned(), "in".to_owned()];
    let mut rows = Rows::open(format, b',', columns, text)?;
    let (mut cells, mut seen) = (Vec::new(), Vec::new());
    loop {
        match rows.next(&mut cells)? {
            Next::Row { line } => seen.push(format!("{line}: {}", cells.join("|"))),
            Next::Bad { line, column, reason } => {
                let column = column.map(|column| format!("{column}: ")).unwrap_or_default();
                seen.push(format!("{line}: bad: {column}{reason}"));
            }
            Next::End => return Ok(seen),
        }
    }
}

fn csv(text: &[u8]) -> Vec<String> {
    read(Format::Csv, text).expect("a file that can be read")
}

fn fault(format: Format, text: &[u8]) -> String {
    read(format, text).expect_err("a file that cannot be read").to_string()
}

#[test]
fn columns_are_found_by_name_whatever_stands_beside_them() {
    assert_eq!(csv(b"x,in,at\n1,2,3\n4,5,6\n"), ["2: 3|2", "3: 6|5"]);
}

#[test]
fn marks_line_ends_quotes_and_spaces_change_nothing() {
    for text in [
        &b"\xef\xbb\xbfat,in\r\na,1\r\nb,2\r\n"[..],
        b"\"at\",\"in\"\n\"a\",\"1\"\n\"b\",\"2\"",
        b" at , in \n a , 1\nb,2 \n",
        b"at,in\n\na,1\n\n\nb,2\n\n",
    ] {
        let cells: Vec<String> = csv(text)
            .into_iter()
            .map(|row| row.split_once(": ").expect("a line").1.to_owned())
            .collect();
        assert_eq!(cells, ["a|1", "b|2"], "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_line_break_inside_quotes_keeps_the_count_of_lines() {
    assert_eq!(csv(b"at,in\n\"a\nb\",1\nc,2\n"), ["2: a\nb|1", "4: c|2"]);
}

#[test]
fn a_row_that_was_cut_off_is_named_and_the_others_go_on() {
    let bad = "the row has 1 columns and the header has 2";
    assert_eq!(csv(b"at,in\na\nb,2\n"), [format!("2: bad: {bad}"), "3: b|2".to_owned()]);
    assert_eq!(csv(b"at,in\na,1\nb"), ["2: a|1".to_owned(), format!("3: bad: {bad}")]);
    assert_eq!(csv(b"at,in\n\xff,1\nb,2\n")[0], "2: bad: at: the text is not UTF-8");
}

#[test]
fn what_is_no_such_file_is_said() {
    assert_eq!(fault(Format::Csv, b""), "the file is empty");
    assert_eq!(fault(Format::Jsonl, b""), "the file is empty");
    assert!(fault(Format::Csv, b"\xff\xfea\0t\0").contains("save it as UTF-8"));
    assert_eq!(
        fault(Format::Csv, b"at,inn\n"),
        r#"there is no column "in"; did you mean "inn"?; the columns are "at", "inn""#
    );
    assert!(fault(Format::Csv, b"at;in\n1;2\n").contains("--delimiter"));
    assert!(fault(Format::Csv, b"at,in,in\n").contains("there twice"));
    assert_eq!(csv(b"at,in\n"), Vec::<String>::new());
}

#[test]
fn a_quote_that_is_not_closed_ends_before_the_memory_does() {
    let mut text = b"at,in\na,1\n\"b,2\n".to_vec();
    text.resize(3 * ROW_BYTES_MAX, b'x');
    assert!(fault(Format::Csv, &text).starts_with("the row that begins in line 3 is longer"));
    let long = vec![b'{'; 2 * ROW_BYTES_MAX];
    assert!(fault(Format::Jsonl, &long).starts_with("the row that begins in line 1 is longer"));
}

#[test]
fn json_lines_give_numbers_as_they_are_written() {
    let first = b"\xef\xbb\xbf{\"at\": \"a\\u0062\", \"in\": 18446744073709551616}\r\n";
    let rows = read(Format::Jsonl, &[&first[..], b"\n{\"in\": 1e3, \"at\": null}\n"].concat());
    assert_eq!(rows.expect("rows"), ["1: ab|18446744073709551616", "3: |1e3"]);
}

#[test]
fn a_json_line_that_was_cut_off_is_named_and_the_others_go_on() {
    let rows = read(Format::Jsonl, b"{\"at\": 1, \"in\": 2}\n{\"at\": 3,\n{\"at\": 4}\n[]\n");
    let rows = rows.expect("rows");
    assert_eq!(rows[0], "1: 1|2");
    assert!(rows[1].starts_with("2: bad: the line is no JSON object: EOF"), "{}", rows[1]);
    assert_eq!(rows[2], "3: bad: in: it is missing");
    assert!(rows[3].starts_with("4: bad: the line is no JSON object"), "{}", rows[3]);
}

#[test]
fn a_path_leads_into_an_object() {
    let columns = vec!["usage.in".to_owned()];
    let text = &b"{\"usage\": {\"in\": 7}}\n"[..];
    let mut rows = Rows::open(Format::Jsonl, b',', columns, text).expect("a file");
    let mut cells = Vec::new();
    assert_eq!(rows.next(&mut cells).expect("a row"), Next::Row { line: 1 });
    assert_eq!(cells, ["7"]);
}

#[test]
fn a_column_that_the_first_object_lacks_is_no_column() {
    assert_eq!(
        fault(Format::Jsonl, b"{\"at\": 1, \"out\": 2}\n"),
        r#"there is no column "in"; the columns are "at", "out""#
    );
}
