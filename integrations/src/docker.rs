//! Containers through the Docker Engine API: Docker, and Podman's service that is compatible.
//!
//! Rules:
//!
//! * a verb goes to the one container that bears the registered name. The API takes the beginning
//!   of an id for a name too, and puts what it is given into a path: so a name is checked, looked
//!   up, and the verb is sent to the full id that was found;
//! * a verb is sent once, whatever comes back;
//! * what an engine says of itself (paths, ids, traces of its runtime) goes to our own log and
//!   never into a reason that users read.
//!
//! Access to an engine's socket is access to its machine; there is no TLS here, so an engine on
//! another machine is reached through a tunnel or a proxy that lets only these calls pass.

mod about;
mod reading;

pub use about::{EngineFound, EngineSilent};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    InspectContainerOptions, RestartContainerOptions, StartContainerOptions, StopContainerOptions,
};
use commands::workers::{ContainerEngine, EngineError};
use domain::operations::service::{Observation, State, Verb};
use reading::observation;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longer than an action may last; who waits for an answer has a deadline of its own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Why an engine cannot be spoken to at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host:?} is not the address of a container engine; set DOCKER_HOST to a socket such as \
     unix:///var/run/docker.sock, or to tcp://host:port"
)]
pub struct InvalidHost {
    host: String,
}

/// An engine that speaks Docker's API.
#[derive(Debug)]
pub struct DockerEngine {
    host: String,
    /// The client that knows which version of the API the engine speaks. Forgotten when the engine
    /// goes away: it may come back as another version.
    client: Mutex<Option<Docker>>,
}

impl DockerEngine {
    /// The engine at this address. Nothing is sent yet, and it need not run yet.
    ///
    /// # Errors
    ///
    /// When it is no address of a socket (`unix://`) or of a port (`tcp://`, `http://`).
    pub fn at(host: impl Into<String>) -> Result<Self, InvalidHost> {
        let host = host.into();
        let place =
            ["unix://", "tcp://", "http://"].iter().find_map(|scheme| host.strip_prefix(scheme));
        if place.is_none_or(str::is_empty) {
            return Err(InvalidHost { host });
        }
        Ok(Self { host, client: Mutex::new(None) })
    }

    /// The engine that `DOCKER_HOST` names, else the one whose socket is at a usual place: Docker,
    /// Podman of this account, Podman of the machine.
    ///
    /// # Errors
    ///
    /// When `DOCKER_HOST` is no address.
    pub fn usual() -> Result<Self, InvalidHost> {
        if let Ok(host) = std::env::var("DOCKER_HOST")
            && !host.is_empty()
        {
            return Self::at(host);
        }
        let docker = PathBuf::from("/var/run/docker.sock");
        let account = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let podman = [account, Some(PathBuf::from("/run"))].into_iter().flatten();
        let found = std::iter::once(docker.clone())
            .chain(podman.map(|folder| folder.join("podman/podman.sock")))
            .find(|socket| socket.exists());
        Self::at(format!("unix://{}", found.unwrap_or(docker).display()))
    }

    /// Its address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A client that speaks a version both sides know. No lock is held while the engine is asked.
    async fn client(&self) -> Result<Docker, EngineError> {
        let known = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let connect = async {
            let client = Docker::connect_with_host(&self.host)?.with_timeout(ANSWER_TIMEOUT);
            client.negotiate_version().await
        };
        let client = connect.await.map_err(|error| {
            tracing::warn!(host = self.host, %error, "the container engine cannot be reached");
            EngineError::Unreachable
        })?;
        self.remember(Some(client.clone()));
        Ok(client)
    }

    fn remember(&self, client: Option<Docker>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// What to make of an error of the client; the whole of it goes to the log.
    fn explain(&self, container: &str, error: &Error) -> EngineError {
        let answer = answer_for(error);
        if answer != EngineError::NoSuchContainer {
            tracing::warn!(host = self.host, container, %error, "the container engine says no");
        }
        if answer == EngineError::Unreachable {
            self.remember(None);
        }
        answer
    }

    /// Asks what there is under a name, the beginning of an id included.
    ///
    /// Between two states Podman uses words that Docker's API does not have ("stopped", until it
    /// has cleaned up), and then the whole answer cannot be read. A moment later it can.
    async fn inspect(
        &self,
        client: &Docker,
        container: &str,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let mut tries_left = 40;
        loop {
            let options = None::<InspectContainerOptions>;
            match client.inspect_container(container, options).await {
                Ok(found) => return Ok(found),
                Err(Error::JsonDataError { .. }) if tries_left > 0 => {
                    tries_left -= 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(self.explain(container, &error)),
            }
        }
    }

    /// The container that bears this name, and no other.
    async fn find(
        &self,
        client: &Docker,
        container: &str,
    ) -> Result<ContainerInspectResponse, EngineError> {
        if !is_name(container) {
            tracing::warn!(container, "no engine has a container of such a name");
            return Err(EngineError::NoSuchContainer);
        }
        let found = self.inspect(client, container).await?;
        let name = found.name.as_deref().map(|name| name.strip_prefix('/').unwrap_or(name));
        if name == Some(container) || found.id.as_deref() == Some(container) {
            Ok(found)
        } else {
            tracing::warn!(container, name, "the name is only the beginning of another's id");
            Err(EngineError::NoSuchContainer)
        }
    }
}

impl ContainerEngine for DockerEngine {
    async fn observe(&self, container: &str) -> Result<Observation, EngineError> {
        let client = self.client().await?;
        match self.find(&client, container).await {
            Ok(found) => Ok(observation(&found)),
            Err(EngineError::NoSuchContainer) => Ok(Observation {
                state: State::NotCreated,
                container_id: None,
                started_at: None,
                exit_code: None,
            }),
            Err(error) => Err(error),
        }
    }

    async fn perform(&self, container: &str, verb: Verb) -> Result<(), EngineError> {
        let client = self.client().await?;
        // Nothing was asked for yet, so an answer that does not come is no unknown outcome.
        let found = self.find(&client, container).await.map_err(|error| match error {
            EngineError::Timeout => EngineError::Unreachable,
            known => known,
        })?;
        let id = found.id.ok_or(EngineError::NoSuchContainer)?;
        // Starting what runs and stopping what does not is answered with 304, which is no error.
        let performed = match verb {
            Verb::Start => client.start_container(&id, None::<StartContainerOptions>).await,
            Verb::Stop => client.stop_container(&id, None::<StopContainerOptions>).await,
            Verb::Restart => client.restart_container(&id, None::<RestartContainerOptions>).await,
            Verb::Pause => client.pause_container(&id).await,
            Verb::Unpause => client.unpause_container(&id).await,
        };
        performed.map_err(|error| self.explain(container, &error))
    }
}

/// The names that Docker and Podman give containers. All else could reach another path of the API.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.len() <= 255
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(plain)
}

fn answer_for(error: &Error) -> EngineError {
    let state_forbids = "the state of the container does not allow it";
    match error {
        Error::DockerResponseServerError { status_code, message } => match status_code {
            404 => EngineError::NoSuchContainer,
            409 => EngineError::Refused(state_forbids.to_owned()),
            // Podman answers with 500 where Docker answers with 409.
            500 if message.contains("container state improper") => {
                EngineError::Refused(state_forbids.to_owned())
            }
            401 | 403 => EngineError::Refused("it does not permit this".to_owned()),
            other => EngineError::Refused(format!(
                "it answered with status {other}; its own log says why"
            )),
        },
        Error::SocketNotFoundError(_) => EngineError::Unreachable,
        Error::HyperLegacyError { err } if err.is_connect() => EngineError::Unreachable,
        // Sent perhaps, and answered not at all or with something that cannot be read.
        _ => EngineError::Timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_name_gets_into_a_path() {
        for name in ["vllm-1", "a", "open_webui.2", &"a".repeat(255)] {
            assert!(is_name(name), "{name:?} is a name");
        }
        for name in ["", "-a", ".", "..", "a/../b", "a?t=0", "a b", "a%2fb", "ä", &"a".repeat(256)]
        {
            assert!(!is_name(name), "{name:?} is no name");
        }
    }

    #[test]
    fn an_address_that_cannot_be_spoken_to_is_refused_at_once() {
        for host in ["", "unix://", "ssh://host", "https://host", "/var/run/docker.sock"] {
            let refused = DockerEngine::at(host).expect_err("no engine there");
            assert!(refused.to_string().contains("DOCKER_HOST"), "{refused}");
        }
        for host in ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"] {
            assert_eq!(DockerEngine::at(host).expect("an engine").host(), host);
        }
    }

    #[test]
    fn reasons_show_nothing_of_the_insides_of_an_engine() {
        let internal = "OCI runtime error: /usr/bin/runc: exec /secret/path: no such file";
        for (status_code, expected) in [(400, "status 400"), (409, "the state"), (500, "own log")] {
            let message = internal.to_owned();
            let answer = answer_for(&Error::DockerResponseServerError { status_code, message });
            assert!(answer.to_string().contains(expected), "{answer}");
            assert!(!answer.to_string().contains("secret"), "{answer}");
        }
        let improper = "abc is not paused: container state improper".to_owned();
        let podman = Error::DockerResponseServerError { status_code: 500, message: improper };
        let docker = Error::DockerResponseServerError { status_code: 409, message: String::new() };
        assert_eq!(answer_for(&podman), answer_for(&docker));
        assert_eq!(answer_for(&Error::RequestTimeoutError), EngineError::Timeout);
    }
}
