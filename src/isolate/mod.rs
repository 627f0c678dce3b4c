//! What confines a container; each part lowers itself into a plan.
