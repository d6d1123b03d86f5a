//! The program `opscenter` as an operator uses it: imports, demonstration, keys, signing keys, the
//! doctor; its output, its exit status, and what is in the log afterwards.

#![cfg(test)]

mod data;
mod demo;
mod doctor;
mod epoch;
mod import_models;
mod import_usage;
mod interrupted;
mod key;
mod log_keys;
mod malformed;
mod world;
