//! `private-postgres FOLDER`: holds a private server until its standard input ends.
//!
//! For a look inside a data folder with other tools, and for the tests, which need an owner
//! that can be killed. Prints the server's process number and then a URL for the superuser.

use std::io::{Read, Write};
use std::process::ExitCode;

use private_postgres::{Mode, Options, PrivatePostgres};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: private-postgres FOLDER");
        return ExitCode::from(2);
    };
    match hold(&Options::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("private-postgres: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hold(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let server = PrivatePostgres::start(options)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}\n{}", server.pid(), server.connection_url(server.superuser()))?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.stop(Mode::Fast);
    Ok(())
}
