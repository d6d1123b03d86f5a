//! Services as the executor's desk sees them; real containers are tested where the engine is.

use crate::world::{World, code, request, text};
use commands::workers::{ActionDesk, Taken};
use commands::{Failure, Refusal, ServiceCommand, Subject};
use domain::operations::service::{Observation, Outcome, Refusal as ServiceRefusal, State, Verb};
use domain::values::ServiceId;

async fn service(world: &World) -> ServiceId {
    let register = ServiceCommand::ServiceRegister {
        name: code("vllm"),
        container: text("vllm-1"),
        verbs: [Verb::Restart].into(),
    };
    let Subject::Service(id) = world.asks(register).await.unwrap().subject else {
        panic!("it is of a service")
    };
    id
}

const fn act(service_id: ServiceId, verb: Verb) -> ServiceCommand {
    ServiceCommand::ServiceAct { service_id, verb, reason: None }
}

const fn seen(state: State) -> Observation {
    Observation { state, container_id: None, started_at: None, exit_code: None }
}

#[tokio::test]
async fn another_verb_or_an_unregistered_target_is_refused() {
    let world = World::on_tier("free").await;
    let service_id = service(&world).await;
    for (target, verb) in
        [(service_id, Verb::Stop), (ServiceId::new(uuid::Uuid::nil()), Verb::Restart)]
    {
        let result = world.asks(act(target, verb)).await;
        let refused = matches!(result, Err(Failure::Refused(Refusal::Service(_))));
        assert!(refused, "{result:?}");
    }
    let viewer = world.with_role("viewer@example.org", "viewer").await;
    let result = world.executor.execute(request(&viewer, act(service_id, Verb::Restart))).await;
    assert!(matches!(result, Err(Failure::Forbidden { .. })), "{result:?}");
}

#[tokio::test]
async fn an_action_is_taken_on_once_and_has_one_end() {
    let world = World::on_tier("free").await;
    let service_id = service(&world).await;
    let outcome = world.asks(act(service_id, Verb::Restart)).await.unwrap();
    let Subject::ServiceAction(_, action_id) = outcome.subject else { panic!("of an action") };
    let busy = world.asks(act(service_id, Verb::Restart)).await;
    let busy = matches!(busy, Err(Failure::Refused(Refusal::Service(ServiceRefusal::Busy { .. }))));
    assert!(busy);
    let desk = &world.executor;
    assert_eq!(desk.open_actions().await.unwrap().len(), 1);
    let take = |worker: &'static str| {
        desk.dispatch(service_id, action_id, worker, desk.now(), seen(State::Healthy))
    };
    let (first, second) = tokio::join!(take("a"), take("b"));
    let mut taken = [first.unwrap(), second.unwrap()];
    taken.sort_by_key(|taken| *taken == Taken::NotMine);
    assert_eq!(taken, [Taken::Mine, Taken::NotMine]);
    assert_eq!(take("a").await.unwrap(), Taken::NotMine, "not again, not even for the same");
    let end = Outcome::Succeeded { after: seen(State::Healthy) };
    desk.finish(service_id, action_id, end.clone()).await.unwrap();
    desk.finish(service_id, action_id, end).await.unwrap();
    assert_eq!(desk.open_actions().await.unwrap(), []);
    let ends = world.events().await;
    let ends = ends.iter().filter(|event| event.type_name() == "service_action_succeeded");
    assert_eq!(ends.count(), 1);
}
