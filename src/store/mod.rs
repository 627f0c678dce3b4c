//! What is on disk: blobs, images, layers.
