//! The examples of FORMATS.md as seeds: where the fuzzer comes with next to nothing, it is given one of them to change.

const FORMATS: &str = include_str!("../../../protocol/FORMATS.md");
/// An input of fewer bytes is replaced by an example now and then.
const NOTHING: usize = 8;
/// One time in so many a larger one is, too.
const SELDOM: u32 = 64;

/// The example of this name.
pub fn example(name: &str) -> &'static str {
    let (_, rest) = FORMATS.split_once(&format!("\n```example {name}\n")).expect("FORMATS.md has it");
    rest.split_once("\n```\n").expect("the example ends").0
}

/// The bytes of an example that is hexadecimal digits.
pub fn hex_example(name: &str) -> Vec<u8> {
    let digits: String = example(name).lines().flat_map(|l| l.split('#').next()).flat_map(str::split_whitespace).collect();
    let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(|at| byte(at).expect("two digits")).collect()
}

/// Changes an input: perhaps begins anew from a seed, then lets the fuzzer change it. Answers how many bytes it has.
pub fn seeded(data: &mut [u8], size: usize, most: usize, random: u32, seeds: &[Vec<u8>]) -> usize {
    let mut size = size;
    if size < NOTHING || random % SELDOM == 0 {
        let seed = &seeds[(random / SELDOM) as usize % seeds.len()];
        if seed.len() <= most {
            data[..seed.len()].copy_from_slice(seed);
            size = seed.len();
        }
    }
    libfuzzer_sys::fuzzer_mutate(data, size, most)
}
