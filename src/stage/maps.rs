//! The id maps of a restart in a user namespace, which at the first start the host wrote.

use super::constant::*;
use super::files::{close, open_host, write};
use super::program::Program;
use super::syscall::Errno;
use super::text::Text;
use crate::plan::layout::CareOrders;

/// Writes the maps of `pid`, a child that waits for them.
pub(crate) fn write_maps(program: &Program, orders: &CareOrders, pid: u32) -> Result<(), Errno> {
    if orders.deny_setgroups == 1 {
        write_file(pid, b"setgroups", b"deny")?;
    }
    write_file(pid, b"uid_map", program.text(orders.id_maps[0]))?;
    write_file(pid, b"gid_map", program.text(orders.id_maps[1]))
}

fn write_file(pid: u32, name: &[u8], text: &[u8]) -> Result<(), Errno> {
    let mut path = Text::<48>::new();
    path.push(b"/proc/").number(u64::from(pid)).push(b"/").push(name);
    let file = open_host(path.as_path(), O_WRONLY)?;
    let written = write(file, text);
    close(file);
    written
}
