//! The integrations of the model: a manifest, its tree, its tables.

use std::collections::HashMap;
use std::sync::Arc;

use rowgate::model::OrganizationId;
use rowgate::rows::TableSpec;
use rowgate::store::integrations::NewIntegration;
use rowgate::store::{Error, Store, tables};
use rowgate_manifest::Manifest;

/// A tree of three services: the owner's row makes a stream of shelves, a shelf one of things.
const MANIFEST: &str = r#"{
  "plugin": {
    "name": "model", "version": "0.1.0", "cursor": {"writes": 1, "reads": [1]},
    "streams_per_owner": 3
  },
  "services": {
    "account_v1": {"table": "account"},
    "shelf_v1": {"table": "shelf", "depends_on": "account_v1", "streams": {"all": {
      "per_row": {"table": "account_v1"}, "page_limit": 2,
      "poll_s": {"pushed": 1, "unpushed": 1, "unsupported": 1}}}},
    "thing_v1": {"table": "thing", "depends_on": "shelf_v1", "streams": {"all": {
      "per_row": {"table": "shelf_v1", "key": "shelf"}, "rows": {"shelf": "{key}"},
      "removed": {"set": {"gone": true}}, "page_limit": 2,
      "poll_s": {"pushed": 1, "unpushed": 1, "unsupported": 1}}}}
  },
  "tables": {
    "account": {"owner": "owner_id", "key": [], "columns": {"title": "text", "pages": "int"}},
    "shelf": {"owner": "owner_id", "key": ["shelf"],
      "computed": {"identity": "{owner_id}-{shelf}"}, "columns": {"shelf": "text"}},
    "thing": {"owner": "owner_id", "key": ["shelf", "id"],
      "computed": {"identity": "{owner_id}-{shelf}-{id}"},
      "columns": {"shelf": "text", "id": "text", "value": "int", "gone": "bool"}}
  }
}"#;

pub(crate) fn manifest() -> Manifest {
    serde_json::from_str(MANIFEST).expect("the model's manifest")
}

/// Creates integrations and tables; answers with the id of the root.
pub(crate) async fn create(
    store: &Store,
    organization: OrganizationId,
) -> Result<(String, HashMap<String, Arc<TableSpec>>), Error> {
    let manifest = manifest();
    let (mut parent, mut root_id, mut specs) = (None, None, HashMap::new());
    for service in manifest.services.keys() {
        let new = NewIntegration {
            organization,
            plugin: "model".to_owned(),
            service: service.clone(),
            depends_on: parent.clone(),
            config: Default::default(),
            secrets: Vec::new(),
            grants: Vec::new(),
        };
        let integration = store.create_integration(new).await?;
        let root = root_id.get_or_insert_with(|| integration.id.clone());
        parent = Some(root.clone());
        let spec = TableSpec::new(&manifest, service, service)
            .map_err(|error| Error::Refused(error.to_string()))?;
        specs.insert(service.clone(), Arc::new(spec));
    }
    let create: Vec<Arc<TableSpec>> = specs.values().cloned().collect();
    let replication = store.replication(organization).await?;
    replication
        .write(move |connection| {
            Box::pin(async move {
                for spec in create {
                    tables::create(connection, &spec)
                        .await
                        .map_err(|error| Error::Refused(error.to_string()))?;
                }
                Ok(())
            })
        })
        .await?;
    Ok((root_id.unwrap_or_default(), specs))
}
