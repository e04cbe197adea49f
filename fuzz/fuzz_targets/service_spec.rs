#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (skep_fuzz::find("service_spec").expect("known").run)(bytes));
