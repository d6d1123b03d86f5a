//! What an engine says of a container, in the words of the domain. Pure.
//!
//! Health is the health check's word where the container has one; without one, to run is to be
//! healthy. How a container ended tells whether it is stopped or in error.

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status, HealthStatusEnum,
};
use domain::Instant;
use domain::operations::service::{Observation, State};

/// What an engine says of a container, in the words of the domain.
pub(super) fn observation(found: &ContainerInspectResponse) -> Observation {
    let said = found.state.as_ref();
    let state = said.map_or(State::Unknown, state_of);
    let runs = match state {
        State::Starting | State::Healthy | State::Unhealthy | State::Paused => true,
        State::NotCreated | State::Stopped | State::Error | State::Unknown => false,
    };
    let started_at = said.and_then(|said| said.started_at.as_deref()).and_then(moment);
    Observation {
        state,
        container_id: found.id.clone(),
        started_at,
        // What was never started has not ended either, though engines say 0.
        exit_code: said.and_then(|said| said.exit_code).filter(|_| !runs && started_at.is_some()),
    }
}

fn state_of(said: &ContainerState) -> State {
    match said.status {
        Some(Status::RUNNING) => health_of(said),
        Some(Status::PAUSED) => State::Paused,
        // It still runs, and not for long.
        Some(Status::STOPPING) => State::Unhealthy,
        // Between two runs: a policy of the engine starts it again and again.
        Some(Status::RESTARTING) if ended_well(said) => State::Starting,
        Some(Status::RESTARTING | Status::DEAD) => State::Error,
        Some(Status::CREATED | Status::REMOVING) => State::Stopped,
        Some(Status::EXITED) if ended_well(said) => State::Stopped,
        Some(Status::EXITED) => State::Error,
        Some(Status::EMPTY) | None => State::Unknown,
    }
}

/// Without a health check, to run is to be healthy.
fn health_of(said: &ContainerState) -> State {
    match said.health.as_ref().and_then(|health| health.status) {
        Some(HealthStatusEnum::STARTING) => State::Starting,
        Some(HealthStatusEnum::UNHEALTHY) => State::Unhealthy,
        Some(HealthStatusEnum::HEALTHY | HealthStatusEnum::NONE | HealthStatusEnum::EMPTY)
        | None => State::Healthy,
    }
}

/// By itself, or because it was told to: by SIGINT (130), SIGKILL (137) or SIGTERM (143). Who sent
/// the signal is not kept by engines; only that memory ran out is.
fn ended_well(said: &ContainerState) -> bool {
    let told = matches!(said.exit_code, None | Some(0 | 130 | 137 | 143));
    told && said.oom_killed != Some(true)
}

/// To the microsecond, which is what the log keeps. Engines write year 1 for "never".
fn moment(text: &str) -> Option<Instant> {
    let moment: Instant = text.parse().ok()?;
    Instant::from_timestamp_micros(moment.timestamp_micros())
        .filter(|moment| moment.timestamp() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::Health;

    fn said(status: Status, exit_code: i64) -> ContainerState {
        let started_at = Some("2026-11-21T05:28:33.338261123Z".to_owned());
        let (status, exit_code) = (Some(status), Some(exit_code));
        ContainerState { status, exit_code, started_at, ..ContainerState::default() }
    }

    fn seen(state: ContainerState) -> Observation {
        let (id, state) = (Some("5f".to_owned()), Some(state));
        observation(&ContainerInspectResponse { id, state, ..Default::default() })
    }

    fn with_health(status: Option<HealthStatusEnum>) -> State {
        let health = Some(Health { status, ..Health::default() });
        seen(ContainerState { health, ..said(Status::RUNNING, 0) }).state
    }

    #[test]
    fn what_runs_is_as_well_as_its_health_check_says() {
        assert_eq!(seen(said(Status::RUNNING, 0)).state, State::Healthy);
        // Podman writes an empty status for a container without a health check.
        assert_eq!(with_health(Some(HealthStatusEnum::EMPTY)), State::Healthy);
        assert_eq!(with_health(Some(HealthStatusEnum::NONE)), State::Healthy);
        assert_eq!(with_health(None), State::Healthy);
        assert_eq!(with_health(Some(HealthStatusEnum::HEALTHY)), State::Healthy);
        assert_eq!(with_health(Some(HealthStatusEnum::STARTING)), State::Starting);
        assert_eq!(with_health(Some(HealthStatusEnum::UNHEALTHY)), State::Unhealthy);
    }

    #[test]
    fn what_ended_by_itself_or_was_told_to_is_stopped_and_the_rest_is_an_error() {
        for code in [0, 130, 137, 143] {
            assert_eq!(seen(said(Status::EXITED, code)).state, State::Stopped, "{code}");
        }
        for code in [1, 2, 127, 139] {
            assert_eq!(seen(said(Status::EXITED, code)).state, State::Error, "{code}");
        }
        let starved = ContainerState { oom_killed: Some(true), ..said(Status::EXITED, 137) };
        assert_eq!(seen(starved).state, State::Error);
        assert_eq!(seen(said(Status::DEAD, 0)).state, State::Error);
        assert_eq!(seen(said(Status::RESTARTING, 1)).state, State::Error);
        assert_eq!(seen(said(Status::RESTARTING, 0)).state, State::Starting);
    }

    #[test]
    fn an_exit_code_belongs_to_what_ended() {
        assert_eq!(seen(said(Status::EXITED, 3)).exit_code, Some(3));
        assert_eq!(seen(said(Status::RUNNING, 0)).exit_code, None);
        assert_eq!(seen(said(Status::PAUSED, 0)).exit_code, None);
        let never = Some("0001-01-01T00:00:00Z".to_owned());
        let created = ContainerState { started_at: never, ..said(Status::CREATED, 0) };
        let created = seen(created);
        assert_eq!((created.state, created.started_at), (State::Stopped, None));
        assert_eq!(created.exit_code, None);
    }

    #[test]
    fn a_moment_of_start_is_kept_to_the_microsecond() {
        let started = seen(said(Status::RUNNING, 0)).started_at.expect("a moment");
        assert_eq!(started.to_rfc3339(), "2026-11-21T05:28:33.338261+00:00");
    }

    #[test]
    fn an_engine_that_says_nothing_of_the_state_leaves_it_unknown() {
        assert_eq!(observation(&ContainerInspectResponse::default()).state, State::Unknown);
        assert_eq!(seen(said(Status::EMPTY, 0)).state, State::Unknown);
    }
}
