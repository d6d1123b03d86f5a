//! Figures about this process, for Prometheus.
//!
//! One recorder for the process, whatever number of servers it holds. No organization, user or
//! command id is a label: their number has no bound.

use event_log::witness::WitnessStanding;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use std::time::Duration;

/// Upper ends of the buckets of every duration, in seconds.
const BUCKETS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 15.0];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Starts recording; does nothing when it was started before.
pub(crate) fn start() {
    let _started = HANDLE.get_or_init(|| {
        let suffix = Matcher::Suffix("_seconds".to_owned());
        let built = PrometheusBuilder::new().set_buckets_for_metric(suffix, &BUCKETS);
        let recorder = built.ok()?.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is there already; /metrics stays empty");
            return None;
        }
        describe();
        Some(handle)
    });
}

fn describe() {
    describe_counter!("opscenter_commands_total", "Commands by name and outcome.");
    describe_histogram!("opscenter_command_seconds", "How long commands took, by name.");
    describe_counter!("opscenter_http_requests_total", "Requests by route, method and status.");
    describe_histogram!("opscenter_http_request_seconds", "How long requests took, by route.");
    describe_counter!("opscenter_graphql_errors_total", "Entries in `errors`, by code.");
    describe_counter!("opscenter_usage_records_total", "Usage records received, by verdict.");
    describe_gauge!("opscenter_log_head", "Position of the last event.");
    describe_gauge!("opscenter_log_signed", "Position up to which the log is signed.");
    describe_gauge!("opscenter_log_sealed", "Position up to which enough witnesses cosigned.");
    describe_gauge!("opscenter_witness_cosigned", "Position up to which a witness cosigned.");
    describe_counter!("opscenter_witness_failures_total", "Asks without cosignature, by witness.");
    describe_gauge!("opscenter_projection_lag_events", "Events not yet in a read model.");
    describe_gauge!("opscenter_http_connections", "Open connections.");
    describe_gauge!("opscenter_database_connections", "Connections to the database, by state.");
}

/// Everything recorded so far, in Prometheus' text form.
pub(crate) fn render() -> String {
    let handle = HANDLE.get().and_then(Option::as_ref);
    handle
        .map(|handle| {
            handle.run_upkeep();
            handle.render()
        })
        .unwrap_or_default()
}

/// One command was answered.
pub(crate) fn command(name: &'static str, outcome: &'static str, took: Duration) {
    counter!("opscenter_commands_total", "command" => name, "outcome" => outcome).increment(1);
    histogram!("opscenter_command_seconds", "command" => name).record(took);
}

/// One request was answered.
pub(crate) fn request(route: &'static str, method: &'static str, status: u16, took: Duration) {
    let status = status.to_string();
    counter!("opscenter_http_requests_total",
        "route" => route, "method" => method, "status" => status)
    .increment(1);
    histogram!("opscenter_http_request_seconds", "route" => route).record(took);
}

/// One entry was added to `errors`.
pub(crate) fn graphql_error(code: &'static str) {
    counter!("opscenter_graphql_errors_total", "code" => code).increment(1);
}

/// Usage records were received.
pub(crate) fn usage(verdict: &'static str, count: u64) {
    counter!("opscenter_usage_records_total", "verdict" => verdict).increment(count);
}

/// How many connections are open.
pub(crate) fn connections(open: usize) {
    gauge!("opscenter_http_connections").set(figure(i64::try_from(open).unwrap_or(i64::MAX)));
}

/// How the log, the read models and the database stand, asked for when figures are.
pub(crate) fn standing(head: i64, lags: &[(String, i64)], connections: u32, idle: usize) {
    gauge!("opscenter_log_head").set(figure(head));
    for (name, lag) in lags {
        gauge!("opscenter_projection_lag_events", "name" => name.clone()).set(figure(*lag));
    }
    let idle = i64::try_from(idle).unwrap_or(i64::MAX);
    gauge!("opscenter_database_connections", "state" => "open").set(f64::from(connections));
    gauge!("opscenter_database_connections", "state" => "idle").set(figure(idle));
}

/// How far the log is signed and sealed, asked for when figures are.
pub(crate) fn evidence(signed: u64, sealed: Option<u64>, witnesses: &[WitnessStanding]) {
    let position = |size: u64| figure(i64::try_from(size).unwrap_or(i64::MAX));
    gauge!("opscenter_log_signed").set(position(signed));
    if let Some(sealed) = sealed {
        gauge!("opscenter_log_sealed").set(position(sealed));
    }
    for standing in witnesses {
        let name = standing.name.to_string();
        if let Some(size) = standing.size {
            gauge!("opscenter_witness_cosigned", "witness" => name.clone()).set(position(size));
        }
        counter!("opscenter_witness_failures_total", "witness" => name).absolute(standing.failures);
    }
}

/// A gauge is a floating-point number by its format; positions fit exactly up to 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "the format of gauges; nothing is computed from it")]
fn figure(value: i64) -> f64 {
    value as f64
}
