//! `opscenter doctor`: what it finds, what it says about it, and that it changes nothing.

use crate::world::{Said, World};
use integrations::testing::Podman;
use integrations::testing::redis::Redis;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tokio::net::TcpListener;

/// Runs the doctor with these variables.
async fn doctor(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let mut program = world.program(&["doctor"]);
    program.args(arguments).envs(variables.iter().copied());
    world.run_program(program).await
}

/// Runs it, expects an exit status, and gives its report.
async fn report(world: &World, code: i32, variables: &[(&str, &str)]) -> Value {
    doctor(world, &["--json"], variables).await.ended(code).json()
}

/// One of its checks.
#[track_caller]
fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list of checks");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {name} in {report}"))
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

#[tokio::test]
async fn a_fresh_folder_is_fine_and_nothing_is_made() {
    let world = World::empty();
    let report = report(&world, 0, &[]).await;
    assert_eq!(entries(world.folder()), Vec::<String>::new());
    assert_eq!(report["fine"], true);
    let folder = check(&report, "data_folder");
    assert_eq!((&folder["state"], &folder["needed"]), (&json!("ok"), &json!(true)));
    assert_eq!(folder["details"]["exists"], false);
    assert!(folder["details"]["free_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{folder}");
    let postgres = check(&report, "postgresql");
    assert_eq!(postgres["details"]["running"], false);
    let programs = postgres["details"]["programs"].as_str().expect("a folder");
    assert!(Path::new(programs).join("initdb").is_file(), "{programs}");
    assert_eq!(check(&report, "redis")["state"], "absent");
    // Nothing needs a device, whether there is one or not.
    let gpus = check(&report, "gpus");
    assert_eq!(gpus["needed"], false);
    if !Path::new("/proc/driver/nvidia").exists() {
        assert_eq!((&gpus["state"], &gpus["details"]), (&json!("absent"), &Value::Null));
    }
}

#[tokio::test]
async fn the_report_has_one_shape_that_programs_can_count_on() {
    let world = World::empty();
    let report = report(&world, 0, &[]).await;
    assert_eq!(members(&report), ["checks", "fine", "version"]);
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let checks = report["checks"].as_array().expect("a list");
    let names: Vec<&str> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    let expected = [
        "data_folder",
        "master_key",
        "log_keys",
        "postgresql",
        "container_engine",
        "gpus",
        "redis",
        "witnesses",
    ];
    assert_eq!(names, expected);
    for check in checks {
        assert_eq!(members(check), ["details", "found", "name", "needed", "state", "to_do"]);
    }
    let details = |name| members(&check(&report, name)["details"]);
    let folder = ["exists", "free_bytes", "in_use", "owner_process", "path"];
    assert_eq!(details("data_folder"), folder);
    assert_eq!(details("master_key"), ["path", "source"]);
    assert_eq!(details("log_keys"), ["path", "source"]);
    let private = ["cluster_made_by", "kind", "programs", "running", "version"];
    assert_eq!(details("postgresql"), private);
}

#[tokio::test]
async fn a_database_that_nobody_answers_for_is_a_problem_and_its_password_is_not_shown() {
    let world = World::empty();
    let url = "postgres://ada:sesame@127.0.0.1:1/ops";
    let named = [("DATABASE_URL", url), ("DATABASE_OWNER_URL", url)];
    let said = doctor(&world, &[], &named).await.ended(1);
    assert!(
        said.out.contains("PostgreSQL        problem  the database at 127.0.0.1:1"),
        "{said:?}"
    );
    assert!(said.out.contains("to do: check that it runs and that DATABASE_URL"), "{said:?}");
    assert!(said.out.ends_with("Needed and not in order: PostgreSQL.\n"), "{said:?}");
    let as_json = doctor(&world, &["--json"], &named).await.ended(1);
    let postgres = check(&as_json.json(), "postgresql").clone();
    assert_eq!((&postgres["state"], &postgres["details"]), (&json!("problem"), &Value::Null));
    for said in [said, as_json] {
        assert!(!format!("{}{}", said.out, said.err).contains("sesame"), "{said:?}");
    }
}

#[tokio::test]
async fn a_database_that_accepts_and_says_nothing_is_given_up() {
    let world = World::empty();
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let url = format!("postgres://{address}/ops");
    let redis = format!("redis://{address}/");
    let report = report(&world, 1, &[("DATABASE_URL", &url), ("REDIS_URL", &redis)]).await;
    for name in ["postgresql", "redis"] {
        let check = check(&report, name);
        let found = check["found"].as_str().unwrap_or_default();
        let says_so = found.contains("timed out") || found.contains("no answer");
        assert!(check["state"] == "problem" && says_so, "{check}");
    }
}

#[tokio::test]
async fn a_private_server_is_recognised_while_it_runs_and_after() {
    let world = World::furnished().await;
    let open = world.open().await;
    let running = report(&world, 0, &[]).await;
    let folder = &check(&running, "data_folder")["details"];
    assert_eq!((&folder["exists"], &folder["in_use"]), (&json!(true), &json!(true)));
    assert_eq!(folder["owner_process"], std::process::id());
    assert_eq!(check(&running, "master_key")["details"]["source"], "file");
    let postgres = &check(&running, "postgresql")["details"];
    assert_eq!((&postgres["kind"], &postgres["running"]), (&json!("private"), &json!(true)));
    assert_eq!(
        (&postgres["encoding"], &postgres["role"]),
        (&json!("UTF8"), &json!("opscenter_service"))
    );
    let needed = &postgres["schema_version_needed"];
    assert!(needed.as_i64().is_some_and(|version| version > 0), "{postgres}");
    assert_eq!(&postgres["schema_version"], needed);
    let process = postgres["process"].as_u64().expect("a process");
    assert!(Path::new(&format!("/proc/{process}")).exists() || cfg!(not(target_os = "linux")));

    // The same server as somebody's own.
    let socket = postgres["address"].as_str().expect("an address");
    let socket = socket.strip_suffix(":5432").expect("the usual port");
    let url = format!("postgres://opscenter_service@localhost/opscenter?host={socket}");
    let named = report(&world, 0, &[("DATABASE_URL", &url)]).await;
    let named = &check(&named, "postgresql")["details"];
    assert_eq!((&named["kind"], &named["version"]), (&json!("named"), &postgres["version"]));
    assert_eq!(&named["schema_version"], needed);

    open.close().await;
    let stopped = report(&world, 0, &[]).await;
    assert_eq!(check(&stopped, "data_folder")["details"]["in_use"], false);
    let postgres = &check(&stopped, "postgresql")["details"];
    assert_eq!(postgres["running"], false);
    let version = postgres["version"].as_str().expect("a version");
    let made_by = postgres["cluster_made_by"].to_string();
    assert!(version.starts_with(&made_by), "{version} starts what {made_by} made");
}

#[tokio::test]
async fn what_would_keep_a_start_from_succeeding_is_a_problem() {
    let world = World::empty();
    let data = world.folder().join("data");
    let nothing = world.folder().display().to_string();
    let without = report(&world, 1, &[("OPS_POSTGRES_BIN", &nothing)]).await;
    let found = check(&without, "postgresql")["found"].to_string();
    assert!(found.contains("no PostgreSQL server binaries"), "{found}");
    assert!(check(&without, "postgresql")["to_do"].to_string().contains("./ops setup"));

    fs::create_dir(&data).expect("a folder");
    let key = data.join("master.key");
    fs::write(&key, "c2VjcmV0").expect("a key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("its mode");
    let exposed = report(&world, 1, &[]).await;
    let found = &check(&exposed, "master_key")["found"];
    assert!(found.to_string().contains("can be read by others"), "{found}");
    assert!(!exposed.to_string().contains("c2VjcmV0"));

    let keys = data.join("log-keys.json");
    fs::write(&keys, "c2VjcmV0").expect("keys");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).expect("their mode");
    let damaged = report(&world, 1, &[]).await;
    let found = &check(&damaged, "log_keys");
    assert!(found["to_do"].to_string().contains("backup"), "{found}");
    assert!(!damaged.to_string().contains("c2VjcmV0"));

    fs::remove_dir_all(&data).expect("it can be removed");
    fs::write(&data, "a file").expect("a file");
    let in_the_way = report(&world, 1, &[]).await;
    let folder = check(&in_the_way, "data_folder");
    assert!(folder["found"].to_string().contains("is no folder"), "{folder}");
    assert_eq!(folder["needed"], true);
    // With everything else elsewhere, what was signed last is still remembered there.
    let elsewhere = [
        ("DATABASE_URL", "postgres://127.0.0.1:1/ops"),
        ("OPS_MASTER_KEY", &"A".repeat(43)),
        ("OPS_LOG_KEYS", "{}"),
    ];
    let elsewhere = report(&world, 1, &elsewhere).await;
    assert_eq!(check(&elsewhere, "data_folder")["needed"], true);
}

#[tokio::test]
async fn a_redis_answers_with_its_version_and_its_password_is_not_shown() {
    let world = World::empty();
    let redis = Redis::start("sesame").await.expect("Redis to run, because it is required");
    let Some(redis) = redis else { return };
    let url = format!("redis://:sesame@127.0.0.1:{}/0", redis.port());
    let said = doctor(&world, &["--json"], &[("REDIS_URL", &url)]).await.ended(0);
    let report = said.json();
    let details = &check(&report, "redis")["details"];
    let version = Redis::version().expect("its version");
    assert_eq!(
        *details,
        json!({
            "address": format!("127.0.0.1:{}", redis.port()),
            "server": "Redis",
            "version": version,
            "mode": "standalone",
        })
    );
    let wrong = url.replace("sesame", "abracadabra");
    let denied = doctor(&world, &[], &[("REDIS_URL", &wrong)]).await.ended(1);
    assert!(denied.out.contains("does not let us in"), "{denied:?}");
    for said in [said, denied] {
        let text = format!("{}{}", said.out, said.err);
        assert!(!text.contains("sesame") && !text.contains("abracadabra"), "{text}");
    }
}

#[tokio::test]
async fn a_redis_that_was_named_and_does_not_listen_is_a_problem() {
    let world = World::empty();
    let url = "redis://:sesame@127.0.0.1:1/";
    let said = doctor(&world, &[], &[("REDIS_URL", url)]).await.ended(1);
    assert!(said.out.contains("Redis at 127.0.0.1:1 cannot be reached"), "{said:?}");
    assert!(!said.out.contains("sesame"), "{said:?}");
    // As scripts leave it behind.
    let report = report(&world, 0, &[("REDIS_URL", "")]).await;
    assert_eq!(check(&report, "redis")["state"], "absent");
}

#[tokio::test]
async fn a_container_engine_says_what_it_is_and_a_named_one_that_does_not_is_a_problem() {
    let world = World::empty();
    let nobody = [("DOCKER_HOST", "tcp://127.0.0.1:1")];
    let said = doctor(&world, &[], &nobody).await.ended(1);
    assert!(said.out.contains("at tcp://127.0.0.1:1 does not answer"), "{said:?}");
    let podman = Podman::start().await.expect("Podman to run, because it is required");
    let Some(podman) = podman else { return };
    let report = report(&world, 0, &[("DOCKER_HOST", &podman.host())]).await;
    let details = &check(&report, "container_engine")["details"];
    assert_eq!(details["engine"], "Podman Engine");
    let version = podman.command(["--version"]).expect("its version");
    let found = details["version"].as_str().expect("a version");
    assert_eq!(version.trim().strip_prefix("podman version "), Some(found));
}

/// A driver library of the tests in a folder of its own.
#[cfg(target_os = "linux")]
fn driver(world: &World) -> String {
    let folder = world.folder().join("driver");
    fs::create_dir(&folder).expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/nvml.c");
    let mut compiler = std::process::Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(folder.join("libnvidia-ml.so.1")).arg(source);
    let compiled = compiler.status().expect("the compiler that links our programs");
    assert!(compiled.success(), "the driver library of the tests can be compiled");
    folder.display().to_string()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn devices_are_read_and_what_one_does_not_report_is_absent_and_not_zero() {
    let world = World::empty();
    let driver = driver(&world);
    let with_driver = [("LD_LIBRARY_PATH", driver.as_str())];
    let report = report(&world, 0, &with_driver).await;
    let gpus = check(&report, "gpus");
    // One of the devices is lost.
    assert_eq!((&gpus["state"], &gpus["needed"]), (&json!("problem"), &json!(false)));
    assert_eq!(gpus["details"]["driver_version"], "570.124.06");
    let full = json!({
        "uuid": "GPU-0000",
        "index": 0,
        "name": "Full Device",
        "memory_total_bytes": 85_899_345_920_u64,
        "memory_used_bytes": 21_474_836_480_u64,
        "memory_reserved_bytes": 536_870_912,
        "utilization_percent": 0,
        "temperature_celsius": 41,
        "power_milliwatts": 120_123,
    });
    let sparse = json!({
        "uuid": "GPU-1111",
        "index": 1,
        "name": "Sparse Device",
        "memory_total_bytes": null,
        "memory_used_bytes": null,
        "memory_reserved_bytes": null,
        "utilization_percent": null,
        "temperature_celsius": null,
        "power_milliwatts": null,
    });
    assert_eq!((&gpus["details"]["devices"][0], &gpus["details"]["devices"][1]), (&full, &sparse));
    let lost = gpus["details"]["devices"][2]["error"].to_string();
    assert!(lost.contains("device 2") && lost.contains("fell off the bus"), "{lost}");
    let said = doctor(&world, &[], &with_driver).await.ended(0);
    let line = "0: Full Device, GPU-0000, 20480 of 81920 MiB, 0 % busy, 41 °C, 120123 mW\n";
    assert!(said.out.contains(line), "{}", said.out);
    assert!(said.out.contains("utilization absent, temperature absent, power absent"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_driver_that_does_not_work_is_a_problem_that_nothing_fails_for() {
    let world = World::empty();
    let driver = driver(&world);
    // The number of "the library and the kernel's module are of different versions".
    let mismatch = [("LD_LIBRARY_PATH", driver.as_str()), ("TEST_NVML_INIT", "18")];
    let report = report(&world, 0, &mismatch).await;
    let gpus = check(&report, "gpus");
    assert_eq!((&gpus["state"], &gpus["details"]), (&json!("problem"), &Value::Null));
    assert!(gpus["found"].to_string().contains("version mismatch"), "{gpus}");
}
