//! Redis, or what speaks its protocol: whether it answers, and what it is.
//!
//! The address may hold a password, so it is never shown: messages name host and port only, and
//! no error of the client is passed on that could repeat what it was given.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError};
use std::time::Duration;

/// What answers at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisFound {
    /// Host and port, or the path of a socket.
    pub address: String,
    /// `Redis` or `Valkey`.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// How it runs: `standalone`, `cluster` or `sentinel`.
    pub mode: Option<String>,
}

/// Why Redis cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUnusable {
    /// The address cannot be read.
    #[error("REDIS_URL cannot be read; it looks like redis://user:password@host:6379/0")]
    Url,
    /// It asks for what this program does not speak.
    #[error(
        "REDIS_URL asks for TLS, which this program does not speak to Redis; use redis:// and a \
         tunnel"
    )]
    Tls,
    /// Nobody answers.
    #[error(
        "Redis at {address} cannot be reached ({reason}); check that it runs and that REDIS_URL \
         is right, or unset it"
    )]
    Unreachable {
        /// Host and port.
        address: String,
        /// What happened.
        reason: String,
    },
    /// It does not let us in.
    #[error("Redis at {address} does not let us in; check user name and password in REDIS_URL")]
    Denied {
        /// Host and port.
        address: String,
    },
    /// It answers as no Redis does.
    #[error("what answers at {address} is no Redis ({reason}); check REDIS_URL")]
    Foreign {
        /// Host and port.
        address: String,
        /// What was wrong.
        reason: String,
    },
}

/// Asks the server at an address whether it answers, and what it is. Takes at most `limit`.
///
/// # Errors
/// Why it cannot be used; no message shows a password.
pub async fn ask(url: &str, limit: Duration) -> Result<RedisFound, RedisUnusable> {
    // The client would say no more than that it knows no TLS.
    if ["rediss:", "valkeys:"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(RedisUnusable::Tls);
    }
    let connect = url.into_connection_info().map_err(|_| RedisUnusable::Url)?;
    let address = connect.addr().to_string();
    let client = Client::open(connect).map_err(|_| RedisUnusable::Url)?;
    match tokio::time::timeout(limit, look(&client, limit)).await {
        Ok(Ok(said)) => found(&address, &said),
        Ok(Err(error)) => Err(explain(address, &error)),
        Err(_) => {
            let reason = format!("no answer within {} s", limit.as_secs());
            Err(RedisUnusable::Unreachable { address, reason })
        }
    }
}

async fn look(client: &Client, limit: Duration) -> Result<String, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(Some(limit));
    let mut connection: MultiplexedConnection =
        client.get_multiplexed_async_connection_with_config(&config).await?;
    let _pong: String = redis::cmd("PING").query_async(&mut connection).await?;
    redis::cmd("INFO").arg("server").query_async(&mut connection).await
}

/// Reads lines such as `redis_version:7.0.15`.
fn found(address: &str, said: &str) -> Result<RedisFound, RedisUnusable> {
    let value = |name: &str| {
        let mut lines = said.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned())
    };
    let address = address.to_owned();
    // Valkey says which Redis it is compatible with under the old name.
    let (name, version) = match value("valkey_version") {
        Some(version) => ("Valkey", Some(version)),
        None => ("Redis", value("redis_version")),
    };
    match version {
        Some(version) => Ok(RedisFound { address, name, version, mode: value("redis_mode") }),
        None => Err(RedisUnusable::Foreign { address, reason: "it has no version".to_owned() }),
    }
}

fn explain(address: String, error: &RedisError) -> RedisUnusable {
    let denied = error.code().is_some_and(|code| ["NOAUTH", "WRONGPASS", "NOPERM"].contains(&code));
    match error.kind() {
        _ if denied => RedisUnusable::Denied { address },
        ErrorKind::AuthenticationFailed => RedisUnusable::Denied { address },
        _ if error.is_timeout() => {
            RedisUnusable::Unreachable { address, reason: "no answer in time".to_owned() }
        }
        ErrorKind::Io => RedisUnusable::Unreachable { address, reason: error.to_string() },
        // The text could repeat what the server was sent.
        kind => RedisUnusable::Foreign { address, reason: format!("{kind:?}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_is_follows_from_what_it_says_of_itself() {
        let redis = found("h:1", "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n");
        let redis = redis.expect("a Redis");
        assert_eq!((redis.name, redis.version.as_str()), ("Redis", "7.0.15"));
        assert_eq!(redis.mode.as_deref(), Some("standalone"));
        let said = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n";
        let valkey = found("h:1", said).expect("a Valkey");
        assert_eq!((valkey.name, valkey.version.as_str()), ("Valkey", "8.1.0"));
        found("h:1", "# Server\r\n").expect_err("a server without a version");
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_used_is_told_without_showing_it() {
        let limit = Duration::from_secs(2);
        for url in ["redis://:se cret@[x/", "http://:secret@localhost", "secret", ""] {
            let refused = ask(url, limit).await.expect_err("no address of Redis");
            assert_eq!(refused, RedisUnusable::Url, "{url}");
        }
        let refused = ask("rediss://:secret@localhost", limit).await;
        assert_eq!(refused, Err(RedisUnusable::Tls));
    }
}
