//! The list of endpoints. A line here is the route, the place in the OpenAPI document, and who may call: path, method and
//! parameters stand at the handler, in its `utoipa::path`.

use super::schema::{EventStatus, RunStatus, UserState};
use super::{Admin, guard, operate, users};
use axum::middleware::from_fn;
use std::sync::Arc;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every endpoint of the admin listener but `/openapi.json` itself. A path below `/v1` that is not in this list does not exist.
pub fn endpoints() -> OpenApiRouter<Arc<Admin>> {
    let application = OpenApiRouter::default()
        .routes(routes!(users::ensure))
        .routes(routes!(users::list))
        .routes(routes!(users::show))
        .routes(routes!(users::complete))
        .routes(routes!(users::changes));
    let operations = OpenApiRouter::default()
        .routes(routes!(users::erase))
        .routes(routes!(operate::status))
        .routes(routes!(operate::runs))
        .routes(routes!(operate::resync))
        .routes(routes!(operate::approve))
        .routes(routes!(operate::reject))
        .routes(routes!(operate::events))
        .routes(routes!(operate::retry))
        .routes(routes!(operate::discard))
        .route_layer(from_fn(guard::operators_only));
    OpenApiRouter::with_openapi(Head::openapi())
        .merge(with_tag("application", application))
        .merge(with_tag("operations", operations))
}

/// The document's word for who may call: the tag of every operation in the group.
fn with_tag(tag: &str, mut group: OpenApiRouter<Arc<Admin>>) -> OpenApiRouter<Arc<Admin>> {
    for item in group.get_openapi_mut().paths.paths.values_mut() {
        let methods = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
        for operation in methods.into_iter().flatten() {
            operation.tags = Some(vec![tag.to_owned()]);
        }
    }
    group
}

/// What the document says beside the endpoints.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "headcount",
        description = "The users that an application reads, and the worker that keeps them true to their auth provider."
    ),
    // Types that only a parameter of an address has: the handlers bring all others by themselves.
    components(schemas(UserState, RunStatus, EventStatus)),
    modifiers(&Bearer),
    security(("bearer" = [])),
    tags(
        (name = "application", description = "What an application needs: either token."),
        (name = "operations", description = "For operators: the admin token alone.")
    )
)]
struct Head;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "HEADCOUNT_ADMIN_TOKEN, or HEADCOUNT_APP_TOKEN for what is tagged `application`",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme.build()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    /// Only a parameter's type can be missing: the handlers do not bring it.
    #[test]
    fn each_type_that_the_document_refers_to_is_in_it() {
        let document = serde_json::to_value(endpoints().into_openapi()).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 14, "each operation refers to something: {found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} is not in the document");
        }
    }

    #[test]
    fn each_operation_has_the_tag_of_its_group() {
        let document = serde_json::to_value(endpoints().into_openapi()).unwrap();
        let tags = |path: &str, method: &str| document["paths"][path][method]["tags"].clone();
        assert_eq!(tags("/v1/users/{id}", "get"), serde_json::json!(["application"]));
        assert_eq!(tags("/v1/users/{id}", "delete"), serde_json::json!(["operations"]));
    }
}
