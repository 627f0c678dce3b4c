//! Which member a connection finds.
