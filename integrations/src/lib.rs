//! Adapters to the outside. Each implements a trait that `commands` owns, and knows no business.
//!
//! [`docker`] carries out service actions through the Docker Engine API, which Podman speaks as
//! well. With the feature `testing` there is `testing` too: a real engine of one's own for tests.

pub mod docker;
#[cfg(feature = "testing")]
pub mod testing;

pub use docker::DockerEngine;
