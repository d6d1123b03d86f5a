//! The adapters against what they adapt to: real engines, real containers.
#![expect(clippy::expect_used, reason = "a test that cannot go on ends")]

mod containers;
mod lost_answer;
