//! The tools against a real server and a real history.
#![cfg(test)]

mod server;
mod verify;
mod world;
