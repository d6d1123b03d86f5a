//! The whole system through its front doors, and the house rules: one binary, a module per story.

#![cfg(test)]

mod tidy;
