//! Actions on real containers, asked for through GraphQL and carried out by the server's own worker
//! through Podman's Docker-compatible service.
//!
//! What the server says came of an action is held against what Podman itself says of the container,
//! and against a file in which the container counts its starts.

use crate::programs::door::{Door, Mutation};
use crate::programs::furnished::{Furnished, furnish};
use crate::programs::{Folder, Server, command, eventually};
use domain::values::ServiceId;
use futures_util::future::join_all;
use installation::Place;
use integrations::testing::Podman;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use uuid::Uuid;

/// Counts its starts, then runs until it is told to stop, and no longer than a quarter of an hour.
const COUNTS: &[&str] = &[
    "/bin/sh",
    "-c",
    "echo started >> /starts; trap 'exit 0' TERM; \
     i=0; while [ $i -lt 900 ]; do i=$((i+1)); sleep 1 & wait $!; done",
];

const ACTION: &str = "id verb state failure requestedBy \
                      before { state startedAt } after { state startedAt }";

/// An engine, and a server that uses it.
struct Stage {
    // Dropped in this order: the server first, the engine last.
    server: Option<Server>,
    folder: Folder,
    podman: Podman,
    furnished: Furnished,
    address: SocketAddr,
}

/// A port that was free a moment ago; the same server comes back to it.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

impl Stage {
    /// `None` where Podman cannot run; that was said aloud and is not required here.
    async fn set() -> Option<Self> {
        let podman = Podman::start().await.expect("Podman to run, because it is required")?;
        let folder = Folder::new();
        let furnished = furnish(&Place::folder(&folder.0)).await;
        let address = free_address();
        let mut stage = Self { server: None, folder, podman, furnished, address };
        stage.serve().await;
        Some(stage)
    }

    async fn serve(&mut self) {
        let mut serve = command("opscenter");
        serve.env("DOCKER_HOST", self.podman.host()).arg("serve");
        serve.args(["--address", &self.address.to_string(), "--data"]).arg(&self.folder.0);
        self.server = Some(Server::start(serve).await);
    }

    fn admin(&self) -> Door {
        Door::new(self.address, &self.furnished.admin)
    }

    /// A container that does not run yet, registered as a service.
    async fn service(&self, name: &str, verbs: &[&str]) -> Service {
        self.podman.create(name, COUNTS).expect("a container");
        let register = Mutation {
            name: "serviceRegister",
            input: "ServiceRegisterInput",
            wanted: "service { id isRegistered }",
        };
        let input = json!({ "commandId": Uuid::now_v7(), "name": name,
                            "container": name, "verbs": verbs });
        let done = self.admin().done(&register, input).await;
        assert_eq!(done["service"]["isRegistered"], true);
        let id = done["service"]["id"].as_str().expect("an id").to_owned();
        Service { id, container: name.to_owned() }
    }

    /// What Podman's own command line says of a container.
    fn podman_says(&self, service: &Service, what: &str) -> String {
        let asked = ["inspect", "--format", what, &service.container];
        self.podman.command(asked).expect("Podman to answer").trim().to_owned()
    }

    fn state(&self, service: &Service) -> String {
        self.podman_says(service, "{{.State.Status}}")
    }

    fn started_at(&self, service: &Service) -> String {
        let format = r#"{{.State.StartedAt.UTC.Format "2006-01-02T15:04:05.000000Z"}}"#;
        self.podman_says(service, format)
    }

    /// How often the container has started.
    fn starts(&self, service: &Service) -> usize {
        let file = self.folder.0.join(format!("starts-{}", service.container));
        let from = format!("{}:/starts", service.container);
        let copy = ["cp".as_ref(), from.as_ref(), file.as_os_str()];
        self.podman.command(copy).expect("the container's count");
        std::fs::read_to_string(file).expect("text").lines().count()
    }

    /// Every action on a service, newest first.
    async fn actions(&self, service: &Service) -> Option<Vec<Value>> {
        let document = format!(
            "query($id: ID!) {{ serviceActions(where: {{ serviceId: $id }}) \
             {{ nodes {{ {ACTION} }} }} }}"
        );
        let answer = self.admin().answer(&document, json!({ "id": service.id })).await.ok()?;
        Some(answer["data"]["serviceActions"]["nodes"].as_array()?.clone())
    }

    /// The newest action of so many on a service, once it has ended.
    async fn ended(&self, service: &Service, count: usize) -> Value {
        eventually("an end of the action", async || {
            let actions = self.actions(service).await?;
            let newest = actions.first()?;
            let is_open = newest["state"] == "requested" || newest["state"] == "dispatched";
            (actions.len() == count && !is_open).then(|| newest.clone())
        })
        .await
    }

    /// What the audit trail says of a command, once it says something.
    async fn audited(&self, command_id: Uuid) -> Value {
        let document = "query($id: UUID!) { auditTrail(where: { commandId: $id }) \
                        { nodes { action result actor command target reason } } }";
        let door = self.admin();
        eventually("an entry in the audit trail", async || {
            let answer = door.answer(document, json!({ "id": command_id })).await.ok()?;
            answer["data"]["auditTrail"]["nodes"].as_array()?.first().cloned()
        })
        .await
    }
}

struct Service {
    id: String,
    container: String,
}

impl Service {
    fn input(&self, command_id: Uuid) -> Value {
        json!({ "commandId": command_id, "serviceId": self.id, "reason": "a test" })
    }
}

const fn act(name: &str) -> Mutation<'_> {
    Mutation { name, input: "ServiceActInput", wanted: "actionId" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_container_is_started_restarted_and_stopped_as_observed() {
    let Some(stage) = Stage::set().await else { return };
    let (door, service) =
        (stage.admin(), stage.service("real", &["START", "STOP", "RESTART"]).await);

    door.done(&act("serviceStart"), service.input(Uuid::now_v7())).await;
    let started = stage.ended(&service, 1).await;
    assert_eq!((&started["state"], &started["verb"]), (&json!("succeeded"), &json!("START")));
    assert_eq!(started["before"]["state"], "stopped");
    assert_eq!(started["after"]["startedAt"], stage.started_at(&service));
    assert_eq!((stage.state(&service).as_str(), stage.starts(&service)), ("running", 1));
    assert!(started["requestedBy"].as_str().expect("text").starts_with("api_key/"), "{started}");

    door.done(&act("serviceRestart"), service.input(Uuid::now_v7())).await;
    let restarted = stage.ended(&service, 2).await;
    assert_eq!(restarted["state"], "succeeded", "{restarted}");
    assert_eq!(restarted["before"]["startedAt"], started["after"]["startedAt"]);
    assert_eq!(restarted["after"]["startedAt"], stage.started_at(&service));
    assert_eq!(stage.starts(&service), 2);

    door.done(&act("serviceStop"), service.input(Uuid::now_v7())).await;
    let stopped = stage.ended(&service, 3).await;
    assert_eq!(stopped["state"], "succeeded", "{stopped}");
    assert_eq!(stopped["after"]["state"], "stopped");
    assert_eq!(stage.state(&service), "exited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_done_to_a_container_is_refused_and_recorded() {
    let Some(stage) = Stage::set().await else { return };
    let service = stage.service("guarded", &["START"]).await;
    let door = stage.admin();
    let stranger = ServiceId::new(Uuid::now_v7()).to_string();
    let unregistered = Service { id: stranger, container: "guarded".to_owned() };
    let cases = [
        ("serviceStart", &unregistered, "SERVICE_NOT_FOUND"),
        ("serviceStop", &service, "SERVICE_ACTION_NOT_ALLOWED"),
    ];
    for (name, target, code) in cases {
        let command_id = Uuid::now_v7();
        let refused = door.command(&act(name), target.input(command_id)).await.expect("an answer");
        assert_eq!(refused["userErrors"][0]["code"], code, "{refused}");
        assert!(refused["receipt"].is_null(), "{refused}");
        let entry = stage.audited(command_id).await;
        assert_eq!(entry["action"], "security.command.refused", "{entry}");
        assert_eq!(entry["target"], format!("service/{}", target.id), "{entry}");
        assert_ne!(entry["result"], "success", "{entry}");
    }

    let command_id = Uuid::now_v7();
    let viewer = door.with_key(&stage.furnished.viewer);
    let document = "mutation($input: ServiceActInput!) { serviceStart(input: $input) \
                    { actionId userErrors { code } } }";
    let input = json!({ "input": service.input(command_id) });
    let answer = viewer.answer(document, input).await.expect("an answer");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    let entry = stage.audited(command_id).await;
    assert_eq!(entry["action"], "security.permission.denied", "{entry}");
    assert_eq!(entry["result"], "denied", "{entry}");

    assert_eq!(stage.actions(&service).await.expect("an answer"), [] as [Value; 0]);
    assert_eq!(stage.state(&service), "created");
}

/// Restarts are asked for one after another and the server is killed among them, so that they are
/// caught in all stages: only asked for, taken on, being carried out, done and not yet written
/// down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_between_request_and_outcome_leaves_one_action_with_a_true_end() {
    const SERVICES: usize = 5;
    let Some(mut stage) = Stage::set().await else { return };
    let mut services = Vec::new();
    for number in 0..SERVICES {
        services.push(stage.service(&format!("caught-{number}"), &["START", "RESTART"]).await);
    }
    let start = act("serviceStart");
    let door = stage.admin();
    let starts = services.iter().map(|it| door.done(&start, it.input(Uuid::now_v7())));
    join_all(starts).await;
    for service in &services {
        let ended = stage.ended(service, 1).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
    }

    let mut asked = Vec::new();
    for service in &services {
        let input = service.input(Uuid::now_v7());
        let done = door.done(&act("serviceRestart"), input.clone()).await;
        asked.push((input, done["actionId"].clone()));
    }
    // The first is on its way, the others are wherever they are.
    eventually("an action that is being carried out", async || {
        let newest = stage.actions(&services[0]).await?.into_iter().next()?;
        (newest["id"] == asked[0].1 && newest["state"] != "requested").then_some(())
    })
    .await;
    stage.server.take().expect("it runs").kill().await;
    stage.serve().await;

    for (service, (input, action_id)) in services.iter().zip(&asked) {
        let ended = stage.ended(service, 2).await;
        assert_eq!(&ended["id"], action_id);
        assert_is_true(&stage, service, &ended);
        let repeated = stage.admin().done(&act("serviceRestart"), input.clone()).await;
        assert_eq!(&repeated["actionId"], action_id);
        assert_eq!(repeated["receipt"]["wasReplayed"], true, "{repeated}");
        assert_eq!(stage.actions(service).await.expect("an answer").len(), 2);
    }
}

/// Carried out at most once, and the end says whether it was.
fn assert_is_true(stage: &Stage, service: &Service, ended: &Value) {
    let starts = stage.starts(service);
    eprintln!("{}: {} after {starts} starts", service.container, ended["state"]);
    assert!(starts <= 2, "restarted {} times: {ended}", starts - 1);
    assert_eq!(stage.state(service), "running");
    assert_eq!(ended["state"] == "succeeded", starts == 2, "{ended}");
    assert_eq!(ended["after"]["startedAt"], stage.started_at(service), "{ended}");
}
