//! What can be used where it is there: a container engine, graphics processors, a Redis.

use super::check::{Check, Name, State};
use super::print::mebibytes;
use integrations::DockerEngine;
use integrations::gpu::{Gpu, GpuError, Nvidia};
use integrations::redis::ask;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// A driver that wakes devices up takes seconds; one that has hung takes for ever.
const DRIVER_LIMIT: Duration = Duration::from_secs(15);

/// The engine that would carry out service actions.
pub(super) async fn container_engine(limit: Duration) -> Check {
    const NAME: Name = Name::ContainerEngine;
    let named = std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty());
    let engine = match DockerEngine::usual() {
        Ok(engine) => engine,
        Err(error) => return Check::problem(NAME, &error).needed(named),
    };
    let socket = engine.host().strip_prefix("unix://");
    if !named && socket.is_some_and(|path| !Path::new(path).exists()) {
        return Check::absent(NAME, "nothing listens at a usual place").advise(
            "to carry out service actions here, start Docker or Podman's service, or set \
             DOCKER_HOST",
        );
    }
    let found = match engine.about(limit).await {
        Ok(found) => found,
        Err(error) => return Check::problem(NAME, &error).needed(named),
    };
    let text = format!("{} {} at {}", found.name, found.version, engine.host());
    let details = json!({
        "address": engine.host(),
        "engine": found.name,
        "version": found.version,
        "api_version": found.api_version,
    });
    Check::ok(NAME, text, details).needed(named)
}

/// What the driver says.
struct Driver {
    version: String,
    devices: Vec<Result<Gpu, GpuError>>,
}

/// The devices of this machine. Nothing needs them.
pub(super) async fn gpus() -> Check {
    const NAME: Name = Name::Gpus;
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread that nobody waits for at the end, unlike the runtime's own: a driver may hang.
    std::thread::spawn(move || {
        let read = Nvidia::open().and_then(|driver| {
            Ok(Driver { version: driver.driver_version().to_owned(), devices: driver.read()? })
        });
        // Whoever asked may have given up.
        let _told = tell.send(read);
    });
    let driver = match tokio::time::timeout(DRIVER_LIMIT, told).await {
        Ok(Ok(Ok(driver))) => driver,
        Ok(Ok(Err(error @ GpuError::NoDriver))) => return Check::absent(NAME, error.to_string()),
        Ok(Ok(Err(error))) => return Check::problem(NAME, &error),
        Ok(Err(_)) => return Check::problem(NAME, &GpuError::Driver("it ended".to_owned())),
        Err(_) => {
            let reason = format!("no answer within {} s", DRIVER_LIMIT.as_secs());
            return Check::problem(NAME, &GpuError::Driver(reason));
        }
    };
    described(NAME, &driver)
}

fn described(name: Name, driver: &Driver) -> Check {
    let details = json!({
        "driver_version": driver.version,
        "devices": driver.devices.iter().map(as_data).collect::<Vec<_>>(),
    });
    let (version, count) = (&driver.version, driver.devices.len());
    let text = match count {
        0 => format!("driver {version}, and no device"),
        1 => format!("driver {version}, 1 device"),
        _ => format!("driver {version}, {count} devices"),
    };
    let failed = driver.devices.iter().find_map(|device| device.as_ref().err());
    let lines = driver.devices.iter().map(in_words).collect();
    let check = Check::ok(name, text, details).lines(lines);
    match failed {
        _ if count == 0 => Check { state: State::Absent, ..check },
        Some(error) => {
            let advice = Check::problem(name, error).to_do;
            Check { state: State::Problem, to_do: advice, ..check }
        }
        None => check,
    }
}

fn in_words(device: &Result<Gpu, GpuError>) -> String {
    let gpu = match device {
        Ok(gpu) => gpu,
        Err(error) => return Check::problem(Name::Gpus, error).found,
    };
    let part = |what: &str, value: Option<String>| match value {
        Some(value) => value,
        None => format!("{what} absent"),
    };
    let memory = match (gpu.memory_used_bytes, gpu.memory_total_bytes) {
        (Some(used), Some(total)) => {
            Some(format!("{} of {} MiB", mebibytes(used), mebibytes(total)))
        }
        (None, Some(total)) => Some(format!("{} MiB", mebibytes(total))),
        (_, None) => None,
    };
    let parts = [
        format!("{}: {}", gpu.index, gpu.name),
        gpu.uuid.clone(),
        part("memory", memory),
        part("utilization", gpu.utilization_percent.map(|percent| format!("{percent} % busy"))),
        part("temperature", gpu.temperature_celsius.map(|celsius| format!("{celsius} °C"))),
        part("power", gpu.power_milliwatts.map(|milliwatts| format!("{milliwatts} mW"))),
    ];
    parts.join(", ")
}

/// Every member is always there; what the device does not report is null.
fn as_data(device: &Result<Gpu, GpuError>) -> Value {
    match device {
        Ok(gpu) => json!({
            "uuid": gpu.uuid,
            "index": gpu.index,
            "name": gpu.name,
            "memory_total_bytes": gpu.memory_total_bytes,
            "memory_used_bytes": gpu.memory_used_bytes,
            "memory_reserved_bytes": gpu.memory_reserved_bytes,
            "utilization_percent": gpu.utilization_percent,
            "temperature_celsius": gpu.temperature_celsius,
            "power_milliwatts": gpu.power_milliwatts,
        }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// The Redis that was named.
pub(super) async fn redis(url: Option<&str>, limit: Duration) -> Check {
    const NAME: Name = Name::Redis;
    let Some(url) = url else {
        return Check::absent(NAME, "REDIS_URL is not set; nothing needs it");
    };
    let found = match ask(url, limit).await {
        Ok(found) => found,
        Err(error) => return Check::problem(NAME, &error).needed(true),
    };
    let text = format!("{} {} at {}", found.name, found.version, found.address);
    let details = json!({
        "address": found.address,
        "server": found.name,
        "version": found.version,
        "mode": found.mode,
    });
    Check::ok(NAME, text, details).needed(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu() -> Gpu {
        Gpu {
            uuid: "GPU-1".to_owned(),
            index: 0,
            name: "NVIDIA H200".to_owned(),
            memory_total_bytes: Some(143_771 << 20),
            memory_used_bytes: Some(1_024 << 20),
            memory_reserved_bytes: None,
            utilization_percent: Some(35),
            temperature_celsius: None,
            power_milliwatts: Some(120_123),
        }
    }

    #[test]
    fn what_a_device_does_not_report_is_said_to_be_absent_and_is_null() {
        let expected = "0: NVIDIA H200, GPU-1, 1024 of 143771 MiB, 35 % busy, temperature absent, \
                        120123 mW";
        assert_eq!(in_words(&Ok(gpu())), expected);
        let data = as_data(&Ok(gpu()));
        assert_eq!(data.get("temperature_celsius"), Some(&Value::Null));
        assert_eq!(data.get("memory_total_bytes"), Some(&json!(150_754_820_096_u64)));
    }

    #[test]
    fn one_device_that_fails_is_a_problem_and_hides_no_other() {
        let failed = GpuError::Device { index: 1, reason: "it is lost".to_owned() };
        let driver = Driver { version: "1.2".to_owned(), devices: vec![Ok(gpu()), Err(failed)] };
        let check = described(Name::Gpus, &driver);
        assert_eq!((check.state, check.needed, check.lines.len()), (State::Problem, false, 2));
        assert_eq!(
            check.lines.last().map(String::as_str),
            Some("device 1 cannot be read (it is lost)")
        );
        assert_eq!(check.to_do.as_deref(), Some("`nvidia-smi` tells more"));
    }

    #[test]
    fn a_driver_without_devices_is_absent() {
        let check =
            described(Name::Gpus, &Driver { version: "1.2".to_owned(), devices: Vec::new() });
        assert_eq!(check.state, State::Absent);
    }
}
