//! Files and what is read out of them.

mod bad;
mod good;

use super::Project;
use crate::Result;
use std::collections::BTreeMap;
use std::path::Path;

/// The environment of all tests here.
fn environment() -> BTreeMap<String, String> {
    [("SET", "value"), ("EMPTY", ""), ("PORT", "8080"), ("COUNT", "3")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn parse(text: &str) -> Result<Project> {
    Project::parse(text, Path::new("/srv/My Shop"), &environment())
}
