#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| duralog_fuzz::manifest::run(data));
