//! Workbooks: archives of which one member after the other is changed.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use tally_intake::InputFormat;

fuzz_target!(|data: &[u8]| tally_fuzz::read(data, InputFormat::Xlsx));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    tally_fuzz::mutate_member(data, size, max_size, seed)
});
