//! The kernel takes the program and decides as it says, in a thread that ends with the test.

use super::{Architecture, Profile};
use crate::isolate::CapabilitySet;
use crate::kernel::confine_thread;
use nix::errno::Errno;
use nix::sys::personality::{self, Persona};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

#[test]
fn the_default_profile_holds_in_the_kernel() {
    let native = Architecture::native().unwrap();
    let filter = Profile::default_for(&CapabilitySet::EMPTY).compile(native).unwrap();
    let open = |protocol| socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).map(drop);
    std::thread::scope(|scope| {
        let confined = scope.spawn(move || {
            confine_thread(&filter.to_bytes(), filter.flags()).unwrap();
            let hostname = nix::unistd::gethostname().unwrap();
            assert_eq!(nix::unistd::sethostname(hostname), Err(Errno::EPERM));
            assert_eq!(personality::set(Persona::ADDR_NO_RANDOMIZE), Err(Errno::ENOSYS));
            assert!(personality::get().is_ok());
            assert_eq!(open(SockProtocol::NetlinkAudit), Err(Errno::EINVAL));
            assert_eq!(open(SockProtocol::NetlinkRoute), Ok(()));
            assert_eq!(nix::unistd::chroot("/"), Err(Errno::EPERM));
        });
        confined.join().unwrap();
    });
    assert_eq!(open(SockProtocol::NetlinkAudit), Ok(()), "only the thread was confined");
}
