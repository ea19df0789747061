//! /openapi.json: what is served, as OpenAPI 3.1. The document is the one of the npm package's handler, written by `tests/dialects/openapi.mjs`.

use serde_json::{Value, json};

use super::Options;

const DOCUMENT: &str = include_str!("openapi.json");

/// The description of an API that is set up like this.
pub(super) fn document(options: &Options) -> Value {
    let mut document: Value = serde_json::from_str(DOCUMENT).expect("a document of ours");
    if !options.base_path.is_empty() {
        document["servers"] = json!([{ "url": options.base_path }]);
    }
    if options.api_keys.is_empty() {
        let without = |object: &mut Value, name: &str| object.as_object_mut().and_then(|o| o.remove(name));
        without(&mut document, "security");
        without(&mut document["components"], "securitySchemes");
    }
    document
}
