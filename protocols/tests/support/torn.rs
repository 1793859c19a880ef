//! What a write may leave behind when the card goes away in the middle of it.

/// Old, new, nothing, all ones, every prefix over each of these, masks, and so much noise.
pub fn torn_contents<const N: usize>(old: [u8; N], new: [u8; N], seeds: u64) -> Vec<[u8; N]> {
    let mut contents = vec![old, new, [0; N], [0xFF; N]];
    for below in [old, [0; N], [0xFF; N]] {
        for len in 1..N {
            let mut prefix = below;
            prefix[..len].copy_from_slice(&new[..len]);
            contents.push(prefix);
        }
    }
    for mask in [0x55, 0xAA, 0x0F, 0xF0] {
        contents.push(std::array::from_fn(|at| (new[at] & mask) | (old[at] & !mask)));
    }
    for odd in [0, 1] {
        contents.push(std::array::from_fn(|at| if at % 2 == odd { new[at] } else { old[at] }));
    }
    contents.extend((1..=seeds).map(noise));
    contents
}

/// Bytes that a seed stands for, so that a failing case can be named by it. `SplitMix64`.
pub fn noise<const N: usize>(seed: u64) -> [u8; N] {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_be_bytes()
    };
    let mut bytes = [0; N];
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&next()[..part.len()]);
    }
    bytes
}
