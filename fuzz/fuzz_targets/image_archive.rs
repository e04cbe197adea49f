#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (skep_fuzz::find("image_archive").expect("known").run)(bytes));
