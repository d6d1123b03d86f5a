//! The test harness shared by integration tests and benchmarks.
