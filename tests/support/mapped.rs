//! Bundles with a user namespace.

use super::bundle::Bundle;
use serde_json::json;

/// Gives the bundle a user namespace in which the calling user is root.
pub fn in_user_namespace(mut bundle: Bundle) -> Bundle {
    let id = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    let linux = &mut bundle.config["linux"];
    linux["namespaces"].as_array_mut().expect("a list").push(json!({ "type": "user" }));
    linux["uidMappings"] = id(nix::unistd::geteuid().as_raw());
    linux["gidMappings"] = id(nix::unistd::getegid().as_raw());
    bundle
}
