//! The choice of a manifest from an index.

use super::image::{Descriptor, Index};
use crate::value::Platform;
use crate::{Error, ErrorKind, Result};

/// The manifest of `index` for `platform`: the same variant first, then any that [`Platform::accepts`]; the first wins
/// among equals (image-spec, "Image Index"). A sole entry that names no platform is taken as it is: its configuration
/// will tell.
pub(crate) fn select_platform<'a>(index: &'a Index, platform: &Platform) -> Result<&'a Descriptor> {
    let named =
        || index.manifests.iter().filter_map(|entry| entry.platform.as_ref().map(|named| (entry, named.platform())));
    if let [sole] = index.manifests.as_slice()
        && sole.platform.is_none()
    {
        return Ok(sole);
    }
    named()
        .find(|(_, named)| named == platform)
        .or_else(|| named().find(|(_, named)| platform.accepts(named)))
        .map(|(entry, _)| entry)
        .ok_or_else(|| {
            let mut known: Vec<String> = named().map(|(_, named)| printable(&named)).collect();
            known.retain(|name| name != "unknown/unknown");
            known.dedup();
            known.truncate(16);
            let error = Error::new(ErrorKind::NotFound, format!("the image does not exist for {platform}"));
            if known.is_empty() { error } else { error.hint(format!("it exists for {}", known.join(", "))) }
        })
}

fn printable(platform: &Platform) -> String {
    platform.to_string().chars().filter(|character| character.is_ascii_graphic()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Digest;

    fn index(platforms: &[Option<&str>]) -> Index {
        let manifests: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(at, platform)| {
                let named = platform.map(|text| {
                    let platform: Platform = text.parse().unwrap();
                    serde_json::json!({"os": platform.os, "architecture": platform.architecture, "variant": platform.variant})
                });
                serde_json::json!({"mediaType": "m", "digest": Digest::of(&[at as u8]), "size": at, "platform": named})
            })
            .collect();
        Index::parse(&serde_json::to_vec(&serde_json::json!({"schemaVersion": 2, "manifests": manifests})).unwrap())
            .unwrap()
    }

    #[test]
    fn the_best_entry_is_chosen() {
        for (platforms, wanted, chosen) in [
            (&[Some("linux/arm64"), Some("linux/amd64")][..], "linux/amd64", Some(1)),
            (&[Some("linux/arm64"), Some("linux/arm64/v8")], "linux/arm64/v8", Some(1)),
            (&[Some("linux/arm64/v9"), Some("linux/arm64")], "linux/arm64/v8", Some(1)),
            (&[Some("unknown/unknown"), Some("linux/amd64"), Some("linux/amd64")], "linux/amd64", Some(1)),
            (&[Some("windows/amd64")], "linux/amd64", None),
            (&[None], "linux/amd64", Some(0)),
            (&[None, None], "linux/amd64", None),
            (&[], "linux/amd64", None),
        ] {
            let index = index(platforms);
            let found = select_platform(&index, &wanted.parse().unwrap()).ok().map(|entry| entry.size as usize);
            assert_eq!(found, chosen, "{platforms:?} for {wanted}");
        }
    }

    #[test]
    fn the_error_lists_what_there_is() {
        let error = select_platform(
            &index(&[Some("linux/arm64/v8"), Some("unknown/unknown")]),
            &"linux/amd64".parse().unwrap(),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "the image does not exist for linux/amd64 (hint: it exists for linux/arm64/v8)");
    }
}
