//! Objects of the Seam API and of the bridge protocol: serde only, shared by the hub and its clients.

pub mod bridge;
