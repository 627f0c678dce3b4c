#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle::fuzz::mount_options(data));
