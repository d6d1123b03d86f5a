//! An answer that is lost on its way: what a worker must take for "unknown", never for "not done".

use commands::workers::{ContainerEngine, EngineError};
use domain::operations::service::{State, Verb};
use integrations::DockerEngine;
use integrations::testing::{Podman, SERVES};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};

/// Passes everything on to the engine, except the answers to what changes something: there it
/// waits until the engine has answered, and hangs up.
async fn lose_answers(listener: UnixListener, engine: PathBuf) -> std::io::Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        let mut engine = UnixStream::connect(&engine).await?;
        tokio::spawn(async move {
            let mut request = vec![0; 16 * 1024];
            let size = client.read(&mut request).await?;
            engine.write_all(&request[..size]).await?;
            if request.starts_with(b"POST ") {
                engine.read(&mut request).await.map(drop)
            } else {
                copy_bidirectional(&mut client, &mut engine).await.map(drop)
            }
        });
    }
}

fn listen(folder: &Path) -> (UnixListener, String) {
    let socket = folder.join("lossy.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    (listener, format!("unix://{}", socket.display()))
}

#[tokio::test]
async fn a_lost_answer_is_no_refusal_and_what_was_done_can_be_seen() {
    let podman = Podman::start().await.expect("Podman to run, because it is required");
    let Some(podman) = podman else { return };
    podman.create("qdrant", SERVES).expect("a container");
    let socket = podman.socket();
    let (listener, host) = listen(socket.parent().expect("a folder"));
    let passing_on = tokio::spawn(lose_answers(listener, socket));

    let engine = DockerEngine::at(host).expect("an address");
    let before = engine.observe("qdrant").await.expect("an observation");
    assert_eq!(before.state, State::Stopped);
    let answer = engine.perform("qdrant", Verb::Start).await;
    assert_eq!(answer, Err(EngineError::Timeout));
    let after = engine.observe("qdrant").await.expect("an observation");
    assert_eq!(after.state, State::Healthy);
    passing_on.abort();
}
