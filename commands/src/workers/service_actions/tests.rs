//! The worker against a log in memory and a scripted engine, in time that only the tests move.

mod process;
mod world;

use domain::operations::service::{Command, Event, Outcome, State, Verb};
use process::Process;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use world::{DEADLINE, POLL, Script, Weather, World};

const AT_ONCE: Script = Script::Obeys(Duration::ZERO);

/// One action, one worker that lives; says how it ended and how often it was performed.
async fn one(script: Script, verb: Verb) -> (Outcome, u32, Arc<World>) {
    let world = World::new(script);
    let service = world.service(1, verb);
    world.request(service, verb);
    assert!(Process::new(&world, "a", None).lives_until_ended(&[service]).await);
    let outcome = world.check_end(service, verb, &format!("{script:?} {verb:?}"));
    (outcome, world.container(service).performs, world)
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed { reason, .. } => reason,
        Outcome::Succeeded { .. } | Outcome::TimedOut { .. } => panic!("{outcome:?} is no failure"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_verb_is_performed_once_and_succeeds_when_its_target_was_seen() {
    for &verb in Verb::ALL {
        for lasts in [0, 1, 29] {
            let script = Script::Obeys(Duration::from_secs(lasts));
            let (outcome, performs, world) = one(script, verb).await;
            assert!(matches!(outcome, Outcome::Succeeded { .. }), "{verb:?}: {outcome:?}");
            assert_eq!(performs, 1);
            assert!(world.seconds() >= lasts, "done before it was: {verb:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_accepts_and_never_does_times_out() {
    for script in [Script::Ignores, Script::Hangs, Script::Obeys(Duration::from_secs(60))] {
        for &verb in Verb::ALL {
            let (outcome, performs, world) = one(script, verb).await;
            assert!(matches!(outcome, Outcome::TimedOut { .. }), "{script:?}: {outcome:?}");
            assert_eq!(performs, 1);
            assert_eq!(world.seconds(), DEADLINE.as_secs());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_the_observed_state_decides() {
    for &verb in Verb::ALL {
        let (outcome, performs, _) = one(Script::ObeysInSilence, verb).await;
        assert!(matches!(outcome, Outcome::Succeeded { .. }), "{verb:?}: {outcome:?}");
        assert_eq!(performs, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_engine_is_a_failure_with_its_reason() {
    let (outcome, performs, world) = one(Script::Refuses, Verb::Restart).await;
    assert!(reason(&outcome).contains("it does not want to"), "{outcome:?}");
    assert_eq!((performs, world.seconds()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ends_as_soon_as_it_starts_is_a_failure() {
    for verb in [Verb::Start, Verb::Restart] {
        let (outcome, _, world) = one(Script::Ends(3), verb).await;
        assert!(reason(&outcome).ends_with("exit code 3"), "{outcome:?}");
        assert_eq!(world.seconds(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stays_away_fails_the_action_and_one_that_comes_back_does_not() {
    let away = Script::UnreachableUntil(Duration::from_secs(100));
    let (outcome, performs, _) = one(away, Verb::Stop).await;
    assert!(reason(&outcome).contains("nothing was done"), "{outcome:?}");
    assert_eq!(performs, 0);
    let back = Script::UnreachableUntil(Duration::from_secs(2));
    let (outcome, performs, _) = one(back, Verb::Stop).await;
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
    assert_eq!(performs, 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_not_there_fails_the_action() {
    let world = World::new(AT_ONCE);
    let service = world.service(1, Verb::Start);
    world.remove_container(service);
    world.request(service, Verb::Start);
    assert!(Process::new(&world, "a", None).lives_until_ended(&[service]).await);
    let ends = world.ends(service);
    assert!(reason(&ends[0]).contains("no container of this name"), "{ends:?}");
    assert!(matches!(&ends[0], Outcome::Failed { after: Some(after), .. }
            if after.state == State::NotCreated));
}

#[tokio::test(start_paused = true)]
async fn a_request_older_than_its_deadline_is_never_performed() {
    let world = World::new(AT_ONCE);
    let service = world.service(1, Verb::Restart);
    world.request(service, Verb::Restart);
    tokio::time::advance(DEADLINE).await;
    assert!(Process::new(&world, "a", None).lives_until_ended(&[service]).await);
    let outcome = world.check_end(service, Verb::Restart, "old");
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
    assert_eq!(world.container(service).performs, 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_wakes_after_the_deadline_performs_nothing() {
    let world = World::new(AT_ONCE);
    world.weather.lock().expect("the weather").dispatch_lasts = DEADLINE * 2;
    let service = world.service(1, Verb::Restart);
    world.request(service, Verb::Restart);
    assert!(Process::new(&world, "a", None).lives_until_ended(&[service]).await);
    let outcome = world.check_end(service, Verb::Restart, "frozen");
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
    assert_eq!(world.container(service).performs, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_log_is_no_leave_to_perform() {
    let world = World::new(AT_ONCE);
    *world.weather.lock().expect("the weather") =
        Weather { dispatch_answers_lost: 1, ..Weather::default() };
    let service = world.service(1, Verb::Restart);
    world.request(service, Verb::Restart);
    assert!(Process::new(&world, "a", None).lives_until_ended(&[service]).await);
    let outcome = world.check_end(service, Verb::Restart, "lost");
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
    assert_eq!(world.container(service).performs, 0);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_handed_in_until_the_log_takes_it() {
    let world = World::new(AT_ONCE);
    world.weather.lock().expect("the weather").ends_lost = 100;
    let service = world.service(1, Verb::Stop);
    world.request(service, Verb::Stop);
    assert!(Process::new(&world, "a", None).lives_until_ended(&[service]).await);
    let outcome = world.check_end(service, Verb::Stop, "late");
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
    assert!(world.seconds() >= 100);
}

#[tokio::test(start_paused = true)]
async fn an_action_of_another_worker_is_left_alone_until_its_lease_is_over() {
    let world = World::new(AT_ONCE);
    let service = world.service(1, Verb::Restart);
    let action_id = world.request(service, Verb::Restart);
    let before = world.look("container-1");
    let lease_until = world.now() + DEADLINE * 2;
    let worker = "b".to_owned();
    let taken = Command::Dispatch { action_id, worker, lease_until, before };
    world.decide(service, taken).expect("taken on");
    assert!(Process::new(&world, "a", None).lives_until_ended(&[service]).await);
    assert!(world.seconds() >= 60, "taken from a worker whose lease was good");
    let outcome = world.check_end(service, Verb::Restart, "lost");
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
    assert_eq!(world.container(service).performs, 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_asked_to_stop_ends_what_it_has_and_takes_on_nothing_new() {
    let world = World::new(Script::Obeys(Duration::from_secs(10)));
    let (first, second) = (world.service(1, Verb::Stop), world.service(2, Verb::Stop));
    world.request(first, Verb::Stop);
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = Process::new(&world, "a", None).worker();
    let life = tokio::spawn(async move { worker.run(async { drop(stopped.await) }).await });
    while world.container(first).performs == 0 {
        tokio::task::yield_now().await;
    }
    stop.send(()).expect("it works");
    tokio::task::yield_now().await;
    world.request(second, Verb::Stop);
    life.await.expect("it ends");
    world.check_end(first, Verb::Stop, "in hand");
    assert!(world.ends(second).is_empty());
    assert_eq!(world.container(second).performs, 0);
}

#[tokio::test(start_paused = true)]
async fn many_workers_share_the_actions_and_perform_each_once() {
    let world = World::new(Script::Obeys(Duration::from_millis(700)));
    let mut services = Vec::new();
    for number in 1..=20 {
        let service = world.service(number, Verb::Restart);
        world.request(service, Verb::Restart);
        services.push(service);
    }
    let lives = ["a", "b", "c"].map(|name| {
        let (process, services) = (Process::new(&world, name, None), services.clone());
        tokio::spawn(async move { process.lives_until_ended(&services).await })
    });
    for life in lives {
        assert!(life.await.expect("it lives"));
    }
    for service in services {
        world.check_end(service, Verb::Restart, "shared");
        assert_eq!(world.container(service).performs, 1);
        let taken = |event: &Event| matches!(event, Event::ServiceActionDispatched(_));
        assert_eq!(world.history(service).iter().filter(|event| taken(event)).count(), 1);
    }
}

/// Kills a worker at every step, and its successor at every step, until both survive.
async fn die_at_every_step(script: Script, verb: Verb, names: [&str; 3]) -> (usize, usize) {
    let (mut stories, mut performed) = (0, 0);
    for first in 1.. {
        let mut first_lived = false;
        for second in 1.. {
            let world = World::new(script);
            let service = world.service(1, verb);
            world.request(service, verb);
            let story = format!("{script:?} {verb:?} {names:?} died at {first} and {second}");
            first_lived =
                Process::new(&world, names[0], Some(first)).lives_until_ended(&[service]).await;
            let second_lived = first_lived
                || Process::new(&world, names[1], Some(second)).lives_until_ended(&[service]).await;
            let last = Process::new(&world, names[2], None);
            assert!(last.lives_until_ended(&[service]).await, "{story}");
            world.check_end(service, verb, &story);
            let patience = if names[0] == names[2] { DEADLINE } else { DEADLINE * 2 };
            assert!(world.seconds() <= (patience + POLL).as_secs(), "ended too late: {story}");
            stories += 1;
            performed += usize::from(world.container(service).performs == 1);
            if second_lived {
                break;
            }
        }
        if first_lived {
            break;
        }
    }
    (stories, performed)
}

#[tokio::test(start_paused = true)]
async fn whatever_dies_at_any_step_an_action_is_performed_at_most_once_and_ends_truly() {
    let slowly = Script::Obeys(Duration::from_millis(300));
    for script in [AT_ONCE, slowly, Script::ObeysInSilence] {
        for &verb in Verb::ALL {
            for names in [["a", "a", "a"], ["a", "b", "c"]] {
                let (stories, performed) = die_at_every_step(script, verb, names).await;
                // Deaths before, at and after the one performance were all among the stories.
                assert!(stories > 20, "{stories} stories only");
                assert!(performed > 0 && performed < stories, "{performed} of {stories}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_while_the_engine_does_nothing_ends_as_timed_out() {
    for names in [["a", "a", "a"], ["a", "b", "c"]] {
        die_at_every_step(Script::Hangs, Verb::Restart, names).await;
    }
}
