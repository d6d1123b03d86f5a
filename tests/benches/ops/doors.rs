//! Through the front doors: the real programs, spoken to as users do.
//!
//! A demonstration is furnished and served by the built `opscenter`; then usage goes in by HTTP and
//! by the import, and figures come out by GraphQL on a log of a million events. Memory is what the
//! kernel counted (`VmHWM`, `VmRSS`).

use crate::bulk::{copy_rate, prepare_copy};
use crate::cluster::{Cluster, folder};
use crate::derived;
use crate::report::{Report, Target, percentile};
use crate::served::{Served, memory_of_rebuild, program, watched};
use futures_util::StreamExt;
use installation::{Access, Installation, Place};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::process::Command;

const ROWS: usize = 1_000_000;
const MAPPING: &str = "occurred_at=TIMESTAMP,llm_tokens_input=ContextTokens,\
                       llm_tokens_output=GeneratedTokens";
const AUDIT: &str = "{ auditTrail(first: 50) { nodes { action actor target recordedAt } } }";

/// A file of calls like that of a real trace, of so many rows.
fn write_calls(path: &Path, rows: usize) {
    let mut file = BufWriter::new(std::fs::File::create(path).expect("a file"));
    writeln!(file, "TIMESTAMP,ContextTokens,GeneratedTokens").expect("to write");
    for row in 0..rows {
        let second = row / 400 % 3_600;
        let mut line = String::new();
        let _ = writeln!(
            line,
            "2026-11-20 18:{:02}:{:02}.{:07},{},{}",
            second / 60,
            second % 60,
            row % 10_000_000,
            row % 4_000 + 1,
            row % 900 + 1
        );
        file.write_all(line.as_bytes()).expect("to write");
    }
    file.flush().expect("to write");
}

/// Imports a file; how long it took, and the most memory it held, in MiB.
async fn import(data: &Path, file: &Path, map: &str, more: &[&str]) -> (Duration, u64) {
    let mut command = Command::new(program("opscenter"));
    command
        .args(["import", "usage", "--organization", "acme", "--model", "gpt-4o", "--json"])
        .args(["--map", map])
        .args(more)
        .arg("--data")
        .arg(data)
        .arg(file);
    watched(&mut command).await
}

fn per_second(rows: usize, time: Duration) -> f64 {
    u32::try_from(rows).map(f64::from).unwrap_or_default() / time.as_secs_f64()
}

/// How many rows a second go in by HTTP, in batches of 1,000 with three under way.
async fn http_rate(served: &Served, round: usize) -> f64 {
    let rows = 40_000;
    let bodies: Vec<Value> = (0..rows / 1_000)
        .map(|batch| {
            let records: Vec<Value> = (0..1_000)
                .map(|row| {
                    json!({
                        "usage_id": format!("{round:04}-{:08}", batch * 1_000 + row),
                        "occurred_at": "2026-11-20T18:00:00Z",
                        "model": "gpt-4o",
                        "quantities": { "llm_tokens_input": row + 1, "llm_tokens_output": 44 },
                    })
                })
                .collect();
            json!({ "organization": "acme", "source": "bench", "records": records })
        })
        .collect();
    let begun = Instant::now();
    futures_util::stream::iter(&bodies)
        .map(|body| served.post("/api/v1/usage/batch", body))
        .buffer_unordered(3)
        .for_each(|_| async {})
        .await;
    per_second(rows, begun.elapsed())
}

/// Latencies of a query at so many clients, for five seconds.
async fn latencies(served: &Served, query: &str, clients: usize) -> Vec<Duration> {
    let body = json!({ "query": query });
    let begun = Instant::now();
    let clients = (0..clients).map(|_| async {
        let mut times = Vec::new();
        while begun.elapsed() < Duration::from_secs(5) {
            let asked = Instant::now();
            served.post("/graphql", &body).await;
            times.push(asked.elapsed());
        }
        times
    });
    let mut all: Vec<Duration> =
        futures_util::future::join_all(clients).await.into_iter().flatten().collect();
    all.sort();
    all
}

pub(crate) async fn all(report: &mut Report) {
    let served = Served::start(Served::furnish().await).await;
    report.figure("memory, server idle", &format!("{} MiB", served.memory("VmRSS")));
    let cluster = Cluster::start("doors-reference").await;
    let mut connection = prepare_copy(&cluster).await;
    let (mut http, mut whole) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let copy = copy_rate(&mut connection, round).await;
        http.push((copy, http_rate(&served, round).await));
    }
    report.ratio("bulk usage through HTTP", "rows/s", &http, Target::AtLeast(0.2));
    let file = folder().join("calls.csv");
    write_calls(&file, ROWS);
    let copy = copy_rate(&mut connection, 3).await;
    let (time, memory) = import(&served.data, &file, MAPPING, &["--no-charge"]).await;
    whole.push((copy, per_second(ROWS, time)));
    report.ratio("bulk usage through the whole import", "rows/s", &whole, Target::AtLeast(0.25));
    report.figure("memory, import of a million rows, peak", &format!("{memory} MiB"));
    cluster.stop();
    // Charging and read models catch up before anything is asked.
    import(&served.data, &file, MAPPING, &[]).await;
    let organization = organization(&served).await;
    let dashboard = format!(
        "{{ creditBalance(organizationId: \"{organization}\") {{ available owed }} \
           bill(organizationId: \"{organization}\", period: \"2026-11\") \
             {{ totalUsd lines {{ item records chargeUsd }} }} \
           purchases(first: 10) {{ nodes {{ state }} }} \
           services {{ name isRegistered }} }}"
    );
    for (name, query) in [("50 audit entries", AUDIT), ("dashboard", &dashboard)] {
        for clients in [1, 32] {
            let times = latencies(&served, query, clients).await;
            let micros = |share| percentile(&times, share).as_micros();
            report.figure(
                &format!("GraphQL, {name}, {clients} clients, p50 and p99"),
                &format!("{} µs and {} µs", micros(50), micros(99)),
            );
        }
    }
    report.figure("memory, server under load, peak", &format!("{} MiB", served.memory("VmHWM")));
    let _ = std::fs::remove_file(file);
    of_a_gibibyte(&served, report).await;
    let data = served.data.clone();
    served.end().await;
    memory_of_rebuild("usage", &data, report).await;
    let opened = Installation::open(&Place::folder(&data), Access::Write).await.expect("it opens");
    derived::rebuilds(report, opened.log()).await;
    opened.close().await;
    let _ = std::fs::remove_dir_all(&data);
}

/// What an import of a file of 1 GiB takes: calls as a gateway notes them, a KiB each.
async fn of_a_gibibyte(served: &Served, report: &mut Report) {
    let file = folder().join("calls.jsonl");
    let mut lines = BufWriter::new(std::fs::File::create(&file).expect("a file"));
    let more = "x".repeat(900);
    for row in 0..1 << 20 {
        let (input, output) = (row % 4_000 + 1, row % 900 + 1);
        let usage = json!({ "prompt_tokens": input, "completion_tokens": output });
        let call = json!({ "at": "2026-11-20T19:00:00Z", "usage": usage, "headers": more });
        writeln!(lines, "{call}").expect("to write");
    }
    lines.flush().expect("to write");
    drop(lines);
    let size = std::fs::metadata(&file).expect("the file").len() >> 20;
    let map = "occurred_at=at,llm_tokens_input=usage.prompt_tokens,\
               llm_tokens_output=usage.completion_tokens";
    let (time, memory) = import(&served.data, &file, map, &["--no-charge"]).await;
    report.figure(
        &format!("import of a file of {size} MiB: time, peak memory of the import"),
        &format!("{} s, {memory} MiB", time.as_secs()),
    );
    let _ = std::fs::remove_file(file);
}

async fn organization(served: &Served) -> String {
    let body = json!({ "query": "{ organization(slug: \"acme\") { id } }" });
    let answer = served.post("/graphql", &body).await;
    answer.pointer("/data/organization/id").and_then(Value::as_str).expect("an id").to_owned()
}
