//! Tables as text, of whatever delimiter and encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_intake::InputFormat;

fuzz_target!(|data: &[u8]| tally_fuzz::read(data, InputFormat::Csv));
