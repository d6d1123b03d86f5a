//! Adapters to the outside: each implements a trait that `commands` or `event-log` owns, or reads
//! what is there. None knows any business.
//!
//! [`docker`] carries out service actions through the Docker Engine API, which Podman speaks as
//! well. [`gpu`] reads the graphics processors of this machine, [`redis`] tells whether a Redis
//! answers, [`witness`] asks for cosignatures of checkpoints. With the feature `testing` there is
//! `testing` too: a real engine and a real Redis of one's own for tests.

pub mod docker;
pub mod gpu;
pub mod redis;
#[cfg(feature = "testing")]
pub mod testing;
pub mod witness;

pub use docker::DockerEngine;
pub use gpu::Gpu;
pub use witness::WitnessClient;
