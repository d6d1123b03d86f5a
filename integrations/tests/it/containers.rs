//! Service actions on real containers through Podman's Docker-compatible service.
//!
//! What the adapter says is held against what Podman's own command line says of the same container.

use commands::workers::{ContainerEngine, EngineError};
use domain::operations::service::{Observation, State, Verb};
use integrations::DockerEngine;
use integrations::testing::{Podman, SERVES};
use std::time::{Duration, Instant};

/// A running engine, or `None` where that was said aloud and is not required.
async fn podman() -> Option<Podman> {
    Podman::start().await.expect("Podman to run, because it is required")
}

fn engine(podman: &Podman) -> DockerEngine {
    DockerEngine::at(podman.host()).expect("an address")
}

/// What Podman itself calls the state of a container.
fn podman_says(podman: &Podman, container: &str) -> String {
    let asked = ["inspect", "--format", "{{.State.Status}}", container];
    podman.command(asked).expect("Podman to answer").trim().to_owned()
}

/// Looks until it is so.
async fn until(
    engine: &DockerEngine,
    container: &str,
    so: impl Fn(&Observation) -> bool,
) -> Observation {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = engine.observe(container).await.expect("an observation");
        if so(&seen) {
            return seen;
        }
        assert!(Instant::now() < give_up, "{container} stays {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_container_is_started_stopped_and_restarted_as_observed() {
    let Some(podman) = podman().await else { return };
    let engine = engine(&podman);
    let id = podman.create("vllm-1", SERVES).expect("a container");

    let created = engine.observe("vllm-1").await.expect("an observation");
    assert_eq!((created.state, created.started_at), (State::Stopped, None));
    assert_eq!(created.container_id, Some(id));

    engine.perform("vllm-1", Verb::Start).await.expect("to be started");
    let started = until(&engine, "vllm-1", |seen| seen.state == State::Healthy).await;
    assert_eq!(podman_says(&podman, "vllm-1"), "running");
    assert!(started.started_at.is_some());

    engine.perform("vllm-1", Verb::Start).await.expect("starting what runs is no error");
    assert_eq!(engine.observe("vllm-1").await.expect("an observation"), started);

    engine.perform("vllm-1", Verb::Restart).await.expect("to be restarted");
    let restarted = until(&engine, "vllm-1", |seen| {
        seen.state == State::Healthy && seen.started_at > started.started_at
    });
    assert_eq!(restarted.await.container_id, started.container_id);

    engine.perform("vllm-1", Verb::Stop).await.expect("to be stopped");
    let stopped = until(&engine, "vllm-1", |seen| seen.state == State::Stopped).await;
    assert_eq!(stopped.exit_code, Some(0));
    assert_eq!(podman_says(&podman, "vllm-1"), "exited");
    engine.perform("vllm-1", Verb::Stop).await.expect("stopping what is stopped is no error");
}

#[tokio::test]
async fn a_container_is_paused_and_unpaused_as_observed() {
    let Some(podman) = podman().await else { return };
    let engine = engine(&podman);
    podman.create("redis", SERVES).expect("a container");
    engine.perform("redis", Verb::Start).await.expect("to be started");
    let started = until(&engine, "redis", |seen| seen.state == State::Healthy).await;

    engine.perform("redis", Verb::Pause).await.expect("to be paused");
    let paused = until(&engine, "redis", |seen| seen.state == State::Paused).await;
    assert_eq!(podman_says(&podman, "redis"), "paused");
    assert_eq!(paused.started_at, started.started_at);

    engine.perform("redis", Verb::Unpause).await.expect("to be unpaused");
    until(&engine, "redis", |seen| seen.state == State::Healthy).await;
    assert_eq!(podman_says(&podman, "redis"), "running");
}

#[tokio::test]
async fn what_the_state_of_a_container_forbids_is_refused_without_internals() {
    let Some(podman) = podman().await else { return };
    let engine = engine(&podman);
    let id = podman.create("tika", SERVES).expect("a container");
    for verb in [Verb::Pause, Verb::Unpause] {
        let refused = engine.perform("tika", verb).await.expect_err("it does not run");
        assert!(matches!(refused, EngineError::Refused(_)), "{refused:?}");
        let said = refused.to_string();
        assert!(said.contains("the state of the container does not allow it"), "{said}");
        assert!(!said.contains(&id), "{said}");
    }
    assert_eq!(podman_says(&podman, "tika"), "created");
}

#[tokio::test]
async fn a_container_that_ends_badly_is_an_error_with_its_exit_code() {
    let Some(podman) = podman().await else { return };
    let engine = engine(&podman);
    podman.create("n8n", &["/bin/sh", "-c", "exit 3"]).expect("a container");
    engine.perform("n8n", Verb::Start).await.expect("to be started");
    let ended = until(&engine, "n8n", |seen| seen.state == State::Error).await;
    assert_eq!(ended.exit_code, Some(3));
    assert!(ended.started_at.is_some());
}

#[tokio::test]
async fn a_container_that_does_not_stop_by_itself_is_killed_and_counts_as_stopped() {
    let Some(podman) = podman().await else { return };
    let engine = engine(&podman);
    let deaf = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"];
    let create = ["create", "--name", "ollama", "--network", "none", "--stop-timeout", "1"];
    let image = ["localhost/ops-test:1"];
    podman.command(create.iter().chain(&image).chain(&deaf)).expect("a container");
    engine.perform("ollama", Verb::Start).await.expect("to be started");
    let (stopped, watched) = tokio::join!(
        engine.perform("ollama", Verb::Stop),
        // Every look on the way is answered as well, whatever the engine calls what it is doing.
        until(&engine, "ollama", |seen| seen.state == State::Stopped),
    );
    stopped.expect("to be stopped");
    assert_eq!(watched.exit_code, Some(137));
}

#[tokio::test]
async fn a_container_that_is_not_there_is_seen_as_such_and_cannot_be_acted_on() {
    let Some(podman) = podman().await else { return };
    let engine = engine(&podman);
    podman.create("grafana", SERVES).expect("a container");
    for name in ["grafan", "Grafana", "../containers/grafana", "grafana/json?x=", ""] {
        let seen = engine.observe(name).await.expect("an observation");
        assert_eq!(seen.state, State::NotCreated, "{name:?}");
        let refused = engine.perform(name, Verb::Start).await;
        assert_eq!(refused, Err(EngineError::NoSuchContainer), "{name:?}");
    }
    assert_eq!(podman_says(&podman, "grafana"), "created");
}

#[tokio::test]
async fn the_beginning_of_an_id_is_not_a_name() {
    let Some(podman) = podman().await else { return };
    let engine = engine(&podman);
    let id = podman.create("traefik", SERVES).expect("a container");
    let beginning = &id[..12];
    assert_eq!(podman_says(&podman, beginning), "created");
    let seen = engine.observe(beginning).await.expect("an observation");
    assert_eq!(seen.state, State::NotCreated);
    let refused = engine.perform(beginning, Verb::Start).await;
    assert_eq!(refused, Err(EngineError::NoSuchContainer));
    assert_eq!(podman_says(&podman, "traefik"), "created");
    // The whole id is the container, beyond doubt.
    assert_eq!(engine.observe(&id).await.expect("an observation").state, State::Stopped);
}

#[tokio::test]
async fn an_engine_that_went_away_is_unreachable_until_it_is_back() {
    let Some(mut podman) = podman().await else { return };
    let engine = engine(&podman);
    podman.create("searxng", SERVES).expect("a container");
    engine.perform("searxng", Verb::Start).await.expect("to be started");

    // Its socket is still there, and nobody listens.
    podman.stop_serving().expect("to go away");
    assert_eq!(engine.observe("searxng").await, Err(EngineError::Unreachable));
    assert_eq!(engine.perform("searxng", Verb::Stop).await, Err(EngineError::Unreachable));
    // There is no socket.
    std::fs::remove_file(podman.socket()).expect("to be removed");
    assert_eq!(engine.observe("searxng").await, Err(EngineError::Unreachable));
    assert_eq!(podman_says(&podman, "searxng"), "running");

    podman.serve().await.expect("to come back");
    let seen = engine.observe("searxng").await.expect("an observation");
    assert_eq!(seen.state, State::Healthy);
}
