//! What a pull or a push tells while it goes on.

use crate::value::Digest;

/// A step of a pull. Events arrive on the thread that called, in order for each blob.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullEvent {
    /// The manifest was found and checked.
    Resolved {
        /// The digest of the platform's manifest.
        manifest: Digest,
        /// The number of its layers.
        layers: usize,
        /// The bytes of all its different layers as they travel: compressed.
        bytes: u64,
    },
    /// A layer is in the store already.
    Present {
        /// The digest of the layer.
        digest: Digest,
        /// Its bytes.
        total: u64,
    },
    /// A part of a layer arrived.
    Layer {
        /// The digest of the layer.
        digest: Digest,
        /// The bytes so far; less than before where a registry cannot resume.
        bytes: u64,
        /// All its bytes.
        total: u64,
    },
    /// A transfer broke off and will be tried again.
    Retry {
        /// The digest of the layer.
        digest: Digest,
        /// How often in a row it failed.
        failures: u32,
        /// Why, in one line.
        because: String,
    },
    /// The layer is complete, verified and in the store.
    Verified {
        /// The digest of the layer.
        digest: Digest,
    },
}

/// A step of a push. Events arrive on the thread that called, in order for each blob.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushEvent {
    /// The registry has the blob already.
    Present {
        /// The digest of the blob.
        digest: Digest,
    },
    /// The registry took the blob from another of its repositories.
    Mounted {
        /// The digest of the blob.
        digest: Digest,
    },
    /// A part of a blob went out.
    Blob {
        /// The digest of the blob.
        digest: Digest,
        /// The bytes so far; less than before where an upload had to begin again.
        bytes: u64,
        /// All its bytes.
        total: u64,
    },
    /// A transfer broke off and will be tried again.
    Retry {
        /// The digest of the blob.
        digest: Digest,
        /// How often in a row it failed.
        failures: u32,
        /// Why, in one line.
        because: String,
    },
    /// The registry has stored the blob.
    Uploaded {
        /// The digest of the blob.
        digest: Digest,
    },
    /// The registry has stored the manifest: the push is complete.
    Tagged {
        /// The digest of the manifest.
        manifest: Digest,
    },
}

/// Lets every 256th kibibyte and the last byte through.
pub(super) struct Throttle {
    next: u64,
    total: u64,
}

impl Throttle {
    const STEP: u64 = 256 << 10;

    pub(super) fn new(total: u64) -> Throttle {
        Throttle { next: Throttle::STEP, total }
    }

    /// Whether `bytes` so far are worth an event.
    pub(super) fn passes(&mut self, bytes: u64) -> bool {
        // A transfer that begins again counts again.
        if bytes + Throttle::STEP < self.next {
            self.next = bytes + Throttle::STEP;
        }
        if bytes < self.next && bytes != self.total {
            return false;
        }
        self.next = bytes + Throttle::STEP;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_always_counts() {
        let mut throttle = Throttle::new(700 << 10);
        let passed: Vec<u64> = (0..=700).filter(|at| throttle.passes(at << 10)).collect();
        assert_eq!(passed, [256, 512, 700]);
        assert!(!throttle.passes(1 << 10), "begins again");
        assert!(throttle.passes(257 << 10));
    }
}
