use std::collections::BTreeSet;

use super::*;

#[test]
fn each_endpoint_stands_once_in_the_document() {
    let document = document();
    let mut ids = BTreeSet::new();
    for endpoint in endpoints() {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][endpoint.path][method];
        assert!(ids.insert(operation["operationId"].to_string()), "{}", endpoint.path);
        assert!(operation["responses"]["4XX"].is_object(), "{}", endpoint.path);
        for (status, _) in endpoint.answers {
            assert!(operation["responses"][status.to_string()].is_object(), "{}", endpoint.path);
        }
    }
}
