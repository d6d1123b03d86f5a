//! What was refused or forbidden, as facts of their own.

use crate::events::events;

events! {
    /// What was refused or forbidden.
    pub enum Event {
        /// A command was forbidden: the actor has no right to it.
        CommandDenied = "command_denied" 1 "security.permission.denied" {
            /// Which command.
            command: String,
            /// On what.
            target: String,
            /// The permission that was missing.
            permission: String,
            /// Why, in words.
            reason: String,
            /// How many like it this stands for, beyond the first.
            repeated: u64,
        }
        /// A command was refused by the rules.
        CommandRefused = "command_refused" 1 "security.command.refused" {
            /// Which command.
            command: String,
            /// On what.
            target: String,
            /// The refusal's code.
            code: String,
            /// Why, in words.
            reason: String,
            /// How many like it this stands for, beyond the first.
            repeated: u64,
        }
    }
}
