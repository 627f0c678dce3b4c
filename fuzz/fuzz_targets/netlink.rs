#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle::fuzz::netlink(data));
