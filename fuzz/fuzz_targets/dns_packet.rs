#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (skep_fuzz::find("dns_packet").expect("known").run)(bytes));
