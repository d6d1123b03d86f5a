//! What an engine says of itself: for operators who look whether it is there.

use super::DockerEngine;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::SystemVersion;
use std::error::Error as _;
use std::time::Duration;

/// An engine that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFound {
    /// What it calls itself, such as `Docker Engine` or `Podman Engine`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The newest version of the API that it speaks.
    pub api_version: String,
}

/// Why an engine did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the container engine at {host} does not answer ({reason}); start it, or set DOCKER_HOST to \
     where it listens"
)]
pub struct EngineSilent {
    host: String,
    reason: String,
}

impl DockerEngine {
    /// Asks the engine what it is. Takes at most `limit`; what is known of it is left alone.
    ///
    /// # Errors
    ///
    /// With the whole reason: this is for whoever runs the machine, and not for users.
    pub async fn about(&self, limit: Duration) -> Result<EngineFound, EngineSilent> {
        let ask = async {
            let client = Docker::connect_with_host(&self.host)?.with_timeout(limit);
            client.negotiate_version().await?.version().await
        };
        let silent = |reason| EngineSilent { host: self.host.clone(), reason };
        match tokio::time::timeout(limit, ask).await {
            Ok(Ok(said)) => Ok(found(said)),
            Ok(Err(error)) => Err(silent(reason(&error))),
            Err(_) => Err(silent(format!("no answer within {} s", limit.as_secs()))),
        }
    }
}

fn found(said: SystemVersion) -> EngineFound {
    let parts = said.components.unwrap_or_default();
    let engine = parts.iter().find(|part| part.name.ends_with("Engine"));
    let name = match engine.map(|part| part.name.as_str()) {
        Some("Engine") | None => "Docker Engine".to_owned(),
        Some(name) => name.to_owned(),
    };
    let unknown = || "of unknown version".to_owned();
    EngineFound {
        name,
        version: said.version.unwrap_or_else(unknown),
        api_version: said.api_version.unwrap_or_else(unknown),
    }
}

/// The innermost cause: the outer ones only say that there was one.
fn reason(error: &Error) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        reason = inner.to_string();
        cause = inner.source();
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::SystemVersionComponents;

    fn name(parts: &[&str]) -> String {
        let part = |name: &&str| SystemVersionComponents {
            name: (*name).to_owned(),
            ..SystemVersionComponents::default()
        };
        let components = Some(parts.iter().map(part).collect());
        found(SystemVersion { components, ..SystemVersion::default() }).name
    }

    #[test]
    fn an_engine_is_called_what_it_calls_itself() {
        assert_eq!(name(&["Podman Engine", "Conmon"]), "Podman Engine");
        assert_eq!(name(&["Engine", "containerd"]), "Docker Engine");
        assert_eq!(name(&[]), "Docker Engine");
    }
}
