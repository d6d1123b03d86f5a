//! When an action has done what was asked: a pure look at what the service was and is.
//!
//! "Running" is enough for a start: whether the service is well is its health, not the action's
//! outcome. A restart is seen by another moment of start, so that a service that merely kept
//! running never counts as restarted.

use domain::operations::service::{Observation, State, Verb};

/// What an observation says of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What was asked is so.
    Reached,
    /// It will not become so any more.
    Missed(String),
    /// It may yet become so.
    Open,
}

const fn runs(state: State) -> bool {
    match state {
        State::Starting | State::Healthy | State::Unhealthy => true,
        State::NotCreated | State::Paused | State::Stopped | State::Error | State::Unknown => false,
    }
}

const fn has_ended(state: State) -> bool {
    match state {
        State::NotCreated | State::Stopped | State::Error => true,
        State::Starting | State::Healthy | State::Unhealthy | State::Paused | State::Unknown => {
            false
        }
    }
}

/// Why nothing can be done to a service that was seen like this; nobody carries out anything then.
pub(super) fn hopeless(before: &Observation) -> Option<&'static str> {
    match before.state {
        State::Unknown => Some(
            "the container engine could not be asked about the service; nothing was done; check \
             that it runs and that DOCKER_HOST names it",
        ),
        State::NotCreated => Some(
            "the engine has no container of this name; nothing was done; create it, or correct \
             the registration",
        ),
        State::Starting
        | State::Healthy
        | State::Unhealthy
        | State::Paused
        | State::Stopped
        | State::Error => None,
    }
}

/// Whether what was asked of `before` is so in `now`.
pub(super) fn judge(verb: Verb, before: &Observation, now: &Observation) -> Verdict {
    let started_since = now.started_at.is_some() && now.started_at != before.started_at;
    let reached = match verb {
        Verb::Start | Verb::Unpause => runs(now.state),
        Verb::Restart => runs(now.state) && started_since,
        Verb::Stop => has_ended(now.state),
        Verb::Pause => now.state == State::Paused,
    };
    if reached {
        return Verdict::Reached;
    }
    if now.state == State::NotCreated {
        return Verdict::Missed("the container was removed meanwhile".to_owned());
    }
    let over = has_ended(now.state);
    match verb {
        Verb::Start | Verb::Restart if over && started_since => {
            Verdict::Missed(match now.exit_code {
                Some(code) => {
                    format!("the container started and ended at once with exit code {code}")
                }
                None => "the container started and ended at once".to_owned(),
            })
        }
        Verb::Pause | Verb::Unpause if over => {
            Verdict::Missed("the container does not run".to_owned())
        }
        Verb::Start | Verb::Restart | Verb::Stop | Verb::Pause | Verb::Unpause => Verdict::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn seen(state: State, started: i64, exit_code: Option<i64>) -> Observation {
        Observation {
            state,
            container_id: Some("c".into()),
            started_at: DateTime::from_timestamp(started, 0),
            exit_code,
        }
    }

    fn check(verb: Verb, before: (State, i64), now: (State, i64), expected: &str) {
        let before = seen(before.0, before.1, None);
        let now = seen(now.0, now.1, Some(3));
        let verdict = match judge(verb, &before, &now) {
            Verdict::Reached => "reached",
            Verdict::Missed(_) => "missed",
            Verdict::Open => "open",
        };
        assert_eq!(verdict, expected, "{verb:?}: {before:?} became {now:?}");
    }

    #[test]
    fn a_restart_needs_another_moment_of_start() {
        use State::{Error, Healthy, Starting, Stopped, Unhealthy};
        check(Verb::Restart, (Healthy, 1), (Healthy, 1), "open");
        check(Verb::Restart, (Healthy, 1), (Stopped, 1), "open");
        check(Verb::Restart, (Healthy, 1), (Error, 1), "open");
        check(Verb::Restart, (Healthy, 1), (Healthy, 2), "reached");
        check(Verb::Restart, (Stopped, 1), (Unhealthy, 2), "reached");
        check(Verb::Restart, (Healthy, 1), (Starting, 2), "reached");
        check(Verb::Restart, (Healthy, 1), (Error, 2), "missed");
    }

    #[test]
    fn a_start_is_done_when_it_runs_and_missed_when_it_ended_at_once() {
        use State::{Error, Healthy, Paused, Starting, Stopped, Unknown};
        check(Verb::Start, (Stopped, 1), (Starting, 2), "reached");
        check(Verb::Start, (Healthy, 1), (Healthy, 1), "reached");
        check(Verb::Start, (Error, 1), (Error, 1), "open");
        check(Verb::Start, (Stopped, 1), (Error, 2), "missed");
        check(Verb::Start, (Stopped, 1), (Stopped, 2), "missed");
        check(Verb::Start, (Paused, 1), (Paused, 1), "open");
        check(Verb::Start, (Stopped, 1), (Unknown, 1), "open");
    }

    #[test]
    fn a_stop_is_done_however_the_service_ended() {
        use State::{Error, Healthy, NotCreated, Paused, Stopped, Unknown};
        for state in [Stopped, Error, NotCreated] {
            check(Verb::Stop, (Healthy, 1), (state, 1), "reached");
        }
        for state in [Healthy, Paused, Unknown] {
            check(Verb::Stop, (Healthy, 1), (state, 1), "open");
        }
    }

    #[test]
    fn only_what_runs_can_be_frozen_and_unfrozen() {
        use State::{Healthy, NotCreated, Paused, Stopped};
        check(Verb::Pause, (Healthy, 1), (Paused, 1), "reached");
        check(Verb::Pause, (Healthy, 1), (Healthy, 1), "open");
        check(Verb::Pause, (Healthy, 1), (Stopped, 1), "missed");
        check(Verb::Unpause, (Paused, 1), (Healthy, 1), "reached");
        check(Verb::Unpause, (Paused, 1), (Paused, 1), "open");
        check(Verb::Unpause, (Paused, 1), (NotCreated, 1), "missed");
    }
}
