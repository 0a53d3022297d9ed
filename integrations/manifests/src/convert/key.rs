//! What objects are called.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The namespace of an object; `default` where it gives none.
pub(crate) fn namespace(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}

/// `namespace/name`.
pub(crate) fn key(metadata: &ObjectMeta) -> String {
    format!("{}/{}", namespace(metadata), metadata.name.as_deref().unwrap_or_default())
}
