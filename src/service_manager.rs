//! systemd's notification protocol (sd_notify(3)): ready, alive, stopping. Nothing where nobody asks for it.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The socket of the service manager that started us.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    /// From the variable `NOTIFY_SOCKET`: a path, or a name after `@` outside of the file system.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::at(std::env::var_os("NOTIFY_SOCKET").as_deref())
    }

    fn at(place: Option<&OsStr>) -> Self {
        let socket = place.and_then(|place| {
            let address = match place.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                [b'/', ..] => SocketAddr::from_pathname(place),
                _ => return None,
            };
            let socket = UnixDatagram::unbound().and_then(|it| it.set_nonblocking(true).map(|()| it));
            Some((socket.ok()?, address.ok()?))
        });
        Self { socket }
    }

    /// Everything runs.
    pub fn ready(&self) {
        self.tell(b"READY=1");
    }

    /// The vital threads live; to be told well within the unit's `WatchdogSec`.
    pub fn alive(&self) {
        self.tell(b"WATCHDOG=1");
    }

    /// The orderly stop has begun.
    pub fn stopping(&self) {
        self.tell(b"STOPPING=1");
    }

    fn tell(&self, what: &[u8]) {
        if let Some((socket, address)) = &self.socket {
            // A manager that does not listen will notice by itself.
            let _ = socket.send_to_addr(what, address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_a_path_and_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("gridkeeper-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (manager, place) in [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str().to_owned()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into()),
        ] {
            let us = ServiceManager::at(Some(&place));
            us.ready();
            us.alive();
            us.stopping();
            let mut buffer = [0; 32];
            for wanted in [&b"READY=1"[..], b"WATCHDOG=1", b"STOPPING=1"] {
                let size = manager.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..size], wanted);
            }
        }
    }

    #[test]
    fn without_a_manager_it_says_nothing() {
        for place in [None, Some(OsStr::new("")), Some(OsStr::new("relative"))] {
            let us = ServiceManager::at(place);
            assert!(us.socket.is_none());
            us.alive();
        }
    }
}
