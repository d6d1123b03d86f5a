//! scratch
use event_log::*;
use sqlx::postgres::*;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use std::fmt::Write;
use std::str::FromStr;
use std::time::Instant;
use uuid::Uuid;
type R<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
fn ev(stream: Option<StreamId>, payload: &str) -> NewEvent {
    NewEvent {
        tenant: Uuid::from_u128(7),
        stream,
        type_name: "usage_recorded".into(),
        schema_version: 1,
        event_id: Uuid::now_v7(),
        occurred_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        actor: "service/importer".into(),
        causation: None,
        correlation: None,
        meta: vec![],
        payload: payload.into(),
        tags: vec![],
        subjects: vec![],
    }
}
fn cmd(events: Vec<NewEvent>, conditions: Vec<Condition>) -> Append {
    Append {
        command: CommandKey { id: Uuid::now_v7(), content_hash: [1; 32] },
        tenant: Uuid::from_u128(7),
        conditions,
        claims: vec![],
        events,
    }
}
const BODY: &str = r#"{"source":"azure","id":"row-000001234","meters":{"llm_tokens_input":1234,"llm_tokens_output":321},"model":"gpt-4o-2024-08-06"}"#;
const INS: &str = "insert into plain values ($1, $2, $3, $4, $5, 1, $6, now(), now(), $7, null, null, ''::bytea, $8, $9, $9, '{}', $10)";
async fn plain(c: &mut PgConnection, pos: i64) -> R<()> {
    sqlx::query(INS)
        .bind(pos)
        .bind(Uuid::from_u128(7))
        .bind(format!("thing/{pos}"))
        .bind(1i64)
        .bind("usage_recorded")
        .bind(Uuid::now_v7())
        .bind("service/importer")
        .bind(BODY.as_bytes())
        .bind(&[7u8; 16][..])
        .bind(&[9u8; 32][..])
        .execute(c)
        .await?;
    Ok(())
}
fn med(v: &mut Vec<f64>) -> (f64, f64) {
    v.sort_by(f64::total_cmp);
    (v[v.len() / 2], v[v.len() * 99 / 100])
}
#[tokio::main]
async fn main() -> R<()> {
    let admin = PgConnectOptions::from_str(&std::env::args().nth(1).unwrap())?;
    migrate(&admin).await?;
    let svc = admin.clone().username("opscenter_service");
    let mut c = admin.connect().await?;
    c.execute("drop table if exists plain; create table plain as select * from event_log.log limit 0; alter table plain add primary key (position); drop table if exists heads; create table heads(like event_log.stream_head including all); grant all on plain to public; drop sequence if exists s; create sequence s").await?;
    for mode in [CommitMode::Barrier, CommitMode::Synchronous] {
        let mut s = Settings::new(svc.clone());
        s.commit_mode = mode;
        s.read_connections = 4;
        let log = EventLog::connect(s).await?;
        let (mut a, mut b) = (vec![], vec![]);
        let mut n = 0i64;
        c.execute("truncate plain").await?;
        for i in 0..3000 {
            n += 1;
            let t = Instant::now();
            plain(&mut c, n).await?;
            let x = t.elapsed().as_secs_f64() * 1e6;
            let st = StreamId::new("thing", &Uuid::now_v7().to_string())?;
            let t = Instant::now();
            log.append(cmd(
                vec![ev(Some(st.clone()), BODY)],
                vec![Condition::StreamVersion { stream: st, version: 0 }],
            ))
            .await?;
            let y = t.elapsed().as_secs_f64() * 1e6;
            if i > 300 {
                a.push(x);
                b.push(y);
            }
        }
        let (p, q) = (med(&mut a), med(&mut b));
        println!(
            "{mode:?} single: plain p50 {:.0} p99 {:.0} us; append p50 {:.0} p99 {:.0} us; ratio {:.2}",
            p.0,
            p.1,
            q.0,
            q.1,
            q.0 / p.0
        );
        for _round in 0..3 {
            c.execute("truncate plain").await?;
            c.execute("checkpoint").await?;
            let t = Instant::now();
            let mut hs = vec![];
            for k in 0..64i64 {
                let o = admin.clone();
                hs.push(tokio::spawn(async move {
                    let mut c = o.connect().await?;
                    for i in 0..150 {
                        plain(&mut c, k * 100000 + i).await?;
                    }
                    c.close().await?;
                    R::Ok(())
                }));
            }
            for h in hs {
                h.await??;
            }
            let p = 64.0 * 150.0 / t.elapsed().as_secs_f64();
            c.execute("checkpoint").await?;
            let t = Instant::now();
            let mut hs = vec![];
            for _ in 0..64i64 {
                let log = log.clone();
                hs.push(tokio::spawn(async move {
                    for _ in 0..300 {
                        let st = StreamId::new("thing", &Uuid::now_v7().to_string())?;
                        log.append(cmd(
                            vec![ev(Some(st.clone()), BODY)],
                            vec![Condition::StreamVersion { stream: st, version: 0 }],
                        ))
                        .await?;
                    }
                    R::Ok(())
                }));
            }
            for h in hs {
                h.await??;
            }
            let q = 64.0 * 300.0 / t.elapsed().as_secs_f64();
            println!("{mode:?} 64 clients: plain {p:.0}/s append {q:.0}/s ratio {:.2}", q / p);
        }
        for size in [1000usize] {
            for round in 0..5 {
                c.execute("truncate plain").await?;
                c.execute("checkpoint").await?;
                let batches = 30;
                let mut copies = vec![];
                for k in 0..batches {
                    let mut text = String::new();
                    for i in 0..size {
                        let pos = k * size + i + 1;
                        writeln!(
                            text,
                            "{pos}\t{}\t\\N\t\\N\tusage_recorded\t1\t{}\t2026-03-01 12:00:00+00\t2026-03-01 12:00:00+00\tservice/importer\t\\N\t\\N\t\\\\x\t\\\\x{}\t\\\\x{}\t\\\\x{}\t{{}}\t\\\\x{}",
                            Uuid::from_u128(7),
                            Uuid::now_v7(),
                            BODY.bytes().map(|b| format!("{b:02x}")).collect::<String>(),
                            "07".repeat(16),
                            "07".repeat(16),
                            "09".repeat(32)
                        )?;
                    }
                    copies.push(text);
                }
                let t = Instant::now();
                for text in &copies {
                    let mut w = c.copy_in_raw("copy plain from stdin").await?;
                    w.send(text.as_bytes()).await?;
                    w.finish().await?;
                }
                let p = (batches * size) as f64 / t.elapsed().as_secs_f64();
                c.execute("checkpoint").await?;
                let mut bs = vec![];
                for k in 0..batches {
                    bs.push(UsageBatch {
                        tenant: Uuid::from_u128(7),
                        source: format!("{mode:?}-{size}-{round}"),
                        command: None,
                        records: (0..size)
                            .map(|i| UsageRecord {
                                usage_id: format!("8f14e45fceea167a-{:08}", k * size + i),
                                content_hash: [3; 32],
                                event: ev(None, BODY),
                            })
                            .collect(),
                    });
                }
                let t = Instant::now();
                for b in bs {
                    log.append_usage(b).await?;
                }
                let q = (batches * size) as f64 / t.elapsed().as_secs_f64();
                println!("{mode:?} bulk {size}: copy {p:.0}/s usage {q:.0}/s ratio {:.2}", q / p);
            }
        }
        log.close().await;
    }
    Ok(())
}
