//! OCL/1 from outside: published vectors, then plans run on simulated cards.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail loudly, as tests do")]

mod layout {
    mod bench;
    mod encodes;
    mod encodes_type2;
    mod erase;
    mod example;
    mod memory;
    mod pages;
    mod personalize;
    mod properties;
    mod raw;
    mod tears;
    mod tears_type2;
    #[path = "../support/torn.rs"]
    mod torn;
    mod vectors;
    mod verify;
}
