#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (skep_fuzz::find("wal_record").expect("known").run)(bytes));
