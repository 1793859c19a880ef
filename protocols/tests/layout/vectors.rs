//! Published vectors of the algorithms under the layout's keys.

use encoder_protocols::layout::keys::{aes_cmac, an10922_aes128};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    aes_cmac: Vec<CmacVector>,
    an10922_aes128: Vec<DiversificationVector>,
}

#[derive(Deserialize)]
struct CmacVector {
    key: String,
    message: String,
    mac: String,
    source: String,
}

#[derive(Deserialize)]
struct DiversificationVector {
    key: String,
    input: String,
    diversified: String,
    not: Option<String>,
    source: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/keys.json")).unwrap()
}

pub fn bytes(hex: &str) -> Vec<u8> {
    assert_eq!(hex.len() % 2, 0, "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn key(hex: &str) -> [u8; 16] {
    bytes(hex).try_into().unwrap()
}

#[test]
fn aes_cmac_is_that_of_rfc_4493() {
    for vector in vectors().aes_cmac {
        let mac = aes_cmac(&key(&vector.key), &bytes(&vector.message));
        assert_eq!(mac.as_slice(), bytes(&vector.mac), "{}", vector.source);
    }
}

#[test]
fn diversification_is_that_of_the_notes_for_short_inputs_too() {
    for vector in vectors().an10922_aes128 {
        let (key, input) = (key(&vector.key), bytes(&vector.input));
        let diversified = an10922_aes128(&key, &input).unwrap();
        assert_eq!(diversified.as_slice(), bytes(&vector.diversified), "{}", vector.source);
        if let Some(plain) = vector.not {
            assert_ne!(diversified.as_slice(), bytes(&plain), "{}", vector.source);
            assert_eq!(aes_cmac(&key, &[&[1], input.as_slice()].concat()).as_slice(), bytes(&plain));
        }
    }
}
