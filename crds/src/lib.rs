//! The custom resources of Siyada: group `siyada.cloud`, version `v1alpha1`, category `siyada`.
//!
//! The YAML in `crds/yaml/` is generated from these types; a test fails when it drifts.

pub mod backup;
pub mod catalogue;
pub mod credential;
pub mod order;
pub mod retained;
pub mod shared;
pub mod tenant;

pub use backup::{ServiceBackup, ServiceBackupSpec, ServiceBackupStatus};
pub use catalogue::{PriceList, PriceListSpec, ServiceOffering, ServiceOfferingSpec, Site, SiteSpec};
pub use credential::{ServiceCredential, ServiceCredentialSpec, ServiceCredentialStatus};
pub use order::{
    DocumentStoreInstance, DocumentStoreInstanceSpec, OrderSpec, OrderStatus, PostgresInstance,
    PostgresInstanceSpec,
};
pub use retained::{RetainedInstance, RetainedInstanceSpec, RetainedInstanceStatus};
pub use tenant::{Tenant, TenantSpec, TenantStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The group of every kind.
pub const GROUP: &str = "siyada.cloud";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";

/// Every definition, in the order in which a newcomer meets them.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        Tenant::crd(),
        Site::crd(),
        ServiceOffering::crd(),
        PriceList::crd(),
        bindable(PostgresInstance::crd()),
        bindable(DocumentStoreInstance::crd()),
        ServiceBackup::crd(),
        ServiceCredential::crd(),
        RetainedInstance::crd(),
    ]
}

/// Marks a kind as a provisioned service (servicebinding.io 1.0), so that binding tools find `.status.binding.name`.
fn bindable(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let labels = crd.metadata.labels.get_or_insert_default();
    labels.insert("servicebinding.io/provisioned-service".to_owned(), "true".to_owned());
    crd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_yaml_is_what_the_types_say() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
        for crd in all() {
            let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
            let head = "# Generated from crds/src by `UPDATE=1 cargo test -p siyada-crds`. Do not edit.\n";
            let yaml = format!("{head}{}", serde_saphyr::to_string(&crd).unwrap());
            if std::env::var_os("UPDATE").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &yaml).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == yaml, "{} is stale: run UPDATE=1 cargo test -p siyada-crds", path.display());
        }
    }

    #[test]
    fn every_kind_is_in_the_category_siyada() {
        for crd in all() {
            assert_eq!(crd.spec.names.categories, Some(vec!["siyada".to_owned()]), "{}", crd.spec.names.kind);
            assert_eq!(crd.spec.group, GROUP);
        }
    }
}
