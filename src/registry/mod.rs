//! The distribution protocol: pull and push.
