//! The node as a service of Windows: what the system's service manager is told, and what it says.
//!
//! It knows nothing of what the service does; elsewhere than on Windows it is empty. `make test`
//! compiles it with the whole node for Windows (`make check-windows`).
#![cfg(windows)]

use std::{
    ffi::OsString,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use windows_service::{
    define_windows_service,
    service::{
        ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus,
        ServiceType,
    },
    service_control_handler::{self, ServiceControlHandlerResult},
    service_dispatcher,
};

/// The name under which it is installed.
pub const NAME: &str = "staffetta-node";
/// How long the node may take to stop, once told to.
const STOPS: Duration = Duration::from_secs(20);

/// The node's work: goes on until it is told to stop, and returns what the process would end with.
pub type Work = Box<dyn FnOnce(Receiver<()>) -> u8 + Send>;

/// The service manager calls a function without arguments: this is where it finds its work.
static WORK: Mutex<Option<Work>> = Mutex::new(None);

define_windows_service!(entered, serve);

/// Does `work` under the service manager, which must have started this process.
///
/// # Errors
/// A sentence, where a person started it.
pub fn run(work: Work) -> Result<(), String> {
    *WORK.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    service_dispatcher::start(NAME, entered).map_err(|error| {
        format!("not started by the service manager ({error}): use `sc.exe start {NAME}`, or `run`")
    })
}

fn serve(_: Vec<OsString>) {
    let (stop, stopped) = channel();
    let told = move |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown => {
            // Told twice, it stops once.
            let _ = stop.send(());
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let Ok(manager) = service_control_handler::register(NAME, told) else { return };
    let say = |state: ServiceState, code: u8| {
        let stops = ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN;
        let running = state == ServiceState::Running;
        // If the manager does not hear it, it asks.
        let _ = manager.set_service_status(ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: if running { stops } else { ServiceControlAccept::empty() },
            exit_code: match code {
                0 => ServiceExitCode::Win32(0),
                code => ServiceExitCode::ServiceSpecific(code.into()),
            },
            checkpoint: 0,
            wait_hint: STOPS,
            process_id: None,
        });
    };
    let work = WORK.lock().unwrap_or_else(PoisonError::into_inner).take();
    say(ServiceState::Running, 0);
    let code = work.map_or(0, |work| work(stopped));
    say(ServiceState::Stopped, code);
}
