//! OCL/1 from outside: published vectors, then whole cards.

mod layout {
    mod vectors;
}
