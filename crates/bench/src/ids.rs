//! Random ids, made so fast that making them is no part of what is measured.

use uuid::Builder;
use uuid::fmt::Hyphenated;

/// How many characters an id has.
pub const LENGTH: usize = Hyphenated::LENGTH;

/// An id as text.
pub type Id = [u8; LENGTH];

/// Returns the random uuid that has this number among those of a seed: the same again each time.
pub fn id(seed: u64, number: u64) -> Id {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed(seed, 2 * number).to_le_bytes());
    bytes[8..].copy_from_slice(&mixed(seed, 2 * number + 1).to_le_bytes());
    let mut text = [0; LENGTH];
    Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text);
    text
}

/// Returns an id as the text that it is.
pub fn text(seed: u64, number: u64) -> String {
    String::from_utf8_lossy(&id(seed, number)).into_owned()
}

/// Returns what `SplitMix64` gives as its number `index`.
fn mixed(seed: u64, index: u64) -> u64 {
    let mut bits = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::{Uuid, Version};

    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs for the seed 1234567, as its author's C code prints them.
        assert_eq!(
            [0, 1, 2].map(|index| mixed(1_234_567, index)),
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn ids_are_random_uuids_and_the_same_again_with_the_same_seed() {
        let uuid = Uuid::parse_str(&text(7, 3)).unwrap();
        assert_eq!(uuid.get_version(), Some(Version::Random));
        assert_eq!(text(7, 3), text(7, 3));
        assert_ne!(text(7, 3), text(8, 3));
    }

    #[test]
    fn no_id_comes_twice() {
        let ids: BTreeSet<Id> = (0..100_000).map(|number| id(1, number)).collect();
        assert_eq!(ids.len(), 100_000);
    }
}
