//! One end of a session, as the scenarios start it: a program of its own, since pages of a program
//! that it never needs count as its memory, and the scenarios bring SQL, HTTP and pages.

use std::process::ExitCode;

fn main() -> ExitCode {
    match benches::end::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("end: {error}");
            ExitCode::FAILURE
        }
    }
}
