//! Images from Dockerfiles and from the typed builder.
