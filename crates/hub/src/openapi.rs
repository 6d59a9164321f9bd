//! The description of the interface: OpenAPI 3.1. One table; a test asks every address of it.

use acequia_gate::Artefact;
use serde_json::{Map, Value, json};

use crate::catalogue::plural;
use crate::describe::forms;
use crate::http::Fields;
#[cfg(test)]
use crate::viewer;

/// A query or path parameter that several addresses share.
struct Parameter {
    name: &'static str,
    place: &'static str,
    kind: &'static str,
    example: &'static str,
    description: &'static str,
    /// What else its schema says, as JSON; empty where it says nothing.
    schema: &'static str,
}

impl Parameter {
    const fn with(mut self, schema: &'static str) -> Self {
        self.schema = schema;
        self
    }
}

const fn path(name: &'static str, example: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "path", kind: "string", example, description, schema: r#"{"minLength":1}"# }
}

const fn query(name: &'static str, kind: &'static str, example: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "query", kind, example, description, schema: "" }
}

/// A whole number from 0 that fits everywhere.
const WHOLE: &str = r#"{"minimum":0,"maximum":2147483647}"#;

const PARAMETERS: [Parameter; 39] = [
    path("namespace", "acequia", "Who publishes it."),
    path("name", "breast-cancer-survival", "The data set."),
    path("model", "breast-cancer-recurrence", "The model."),
    path("revision", "v1.0.0", "A tag, `main`, or a whole commit; one path segment, percent-encoded."),
    path("version", "1.0.0", "A version number, a tag or a whole commit."),
    path("path", "README.md", "A file of the version; slashes may be percent-encoded."),
    path(
        "pair",
        "v1.0.0..v1.1.0",
        "Two different revisions, `FROM..TO`; the later one first leads to the right order.",
    )
    .with(r#"{"pattern":"^v[0-9]+[.][0-9]+[.][0-9]+[.][.]v[0-9]+[.][0-9]+[.][0-9]+$"}"#),
    path("branch", "try", "A branch other than `main`."),
    path("object", "", "SHA-256 of a file, or the commit of a version."),
    path("file", "", "The hash of Xet of a file, from the header X-Xet-Hash.").with(r#"{"pattern":"^[0-9a-f]{64}$"}"#),
    path("number", "0", "Place of a xorb in its file, from 0.").with(r#"{"pattern":"^[0-9]{1,9}$"}"#),
    query("search", "string", "survival", "Words that all occur; may be repeated."),
    query("author", "string", "acequia", "Namespace."),
    query("filter", "string", "license:cc-by-4.0", "A tag; may be repeated."),
    query("sort", "string", "lastModified", "`lastModified`, `createdAt` or nothing for the order of names."),
    query("direction", "string", "-1", "`-1` for the newest first, `1` for the oldest."),
    query("limit", "integer", "20", "Entries of a page.").with(WHOLE),
    query(
        "cursor",
        "string",
        "1795300000~acequia/breast-cancer-survival",
        "Behind which entry the page begins; from the header `Link` of the page before.",
    )
    .with(r#"{"pattern":"^-?[0-9]{1,18}~"}"#),
    query("full", "boolean", "true", "With files and the card."),
    query("expand", "string", "true", "More fields."),
    query("blobs", "boolean", "true", "With sizes and digests of files."),
    query("recursive", "boolean", "true", "With all that lies in folders."),
    query("page", "integer", "1", "From 1.").with(r#"{"minimum":1,"maximum":2147483647}"#),
    query("verb", "string", "Identify", "As OAI-PMH 2.0 has them."),
    query("metadataPrefix", "string", "oai_dc", "`oai_dc` or `datacite`."),
    query("identifier", "string", "oai:node.example:acequia/breast-cancer-survival", "Of a record."),
    query("from", "string", "2026-01-01", "First day, or second, of publication."),
    query("until", "string", "2026-12-31", "Last day, or second, of publication."),
    query("set", "string", "models", "`datasets` or `models`."),
    query("resumptionToken", "string", "", "From the page before."),
    query("dataset", "string", "acequia/breast-cancer-survival", "`namespace/name`.")
        .with(r#"{"pattern":"^[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*$"}"#),
    query("config", "string", "default", "`default` is the only one.").with(r#"{"enum":["default"]}"#),
    query("split", "string", "train", "`train`, `validation` or `test`.")
        .with(r#"{"enum":["train","validation","test"]}"#),
    query(
        "where",
        "string",
        "\"time_months\">60",
        "Columns in double quotes, texts in single ones; `=`, `<>`, `<`, `<=`, `>`, `>=`, `IS NULL`, `AND`, `OR`, `NOT`, brackets.",
    ),
    query("orderby", "string", "\"time_months\" DESC", "One column, and `DESC` for the greatest first."),
    query("query", "string", "yes", "Words that all occur in the texts of a row.").with(r#"{"minLength":1}"#),
    query("offset", "integer", "0", "First row, from 0.").with(WHOLE),
    query("length", "integer", "10", "Rows, at most 100.").with(r#"{"minimum":0,"maximum":100}"#),
    query("at", "string", "main", "Revision; the newest when left out."),
];

/// One address: its path, what it gives, its media type, its query parameters (`!` marks one that is needed).
struct Route {
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    media_type: &'static str,
    query: &'static [&'static str],
}

const fn get(
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    media_type: &'static str,
    query: &'static [&'static str],
) -> Route {
    Route { path, tag, summary, media_type, query }
}

const JSON: &str = "application/json";
const LIST: &[&str] = &["search", "author", "filter", "sort", "direction", "limit", "cursor", "full", "expand"];
const VIEW: &[&str] = &["!dataset", "at"];
const VIEW_SPLIT: &[&str] = &["!dataset", "config", "!split", "at"];
const VIEW_FILTER: &[&str] = &["!dataset", "config", "!split", "where", "orderby", "offset", "length", "at"];
const VIEW_SEARCH: &[&str] = &["!dataset", "config", "!split", "!query", "offset", "length", "at"];
const VIEW_ROWS: &[&str] = &["!dataset", "config", "!split", "offset", "length", "at"];

const ROUTES: [Route; 33] = [
    get("/api/datasets", "hub", "Data sets", JSON, LIST),
    get("/api/datasets/{namespace}/{name}", "hub", "A data set in its newest version", JSON, &["blobs", "expand"]),
    get("/api/datasets/{namespace}/{name}/revision/{revision}", "hub", "One version", JSON, &["blobs", "expand"]),
    get(
        "/api/datasets/{namespace}/{name}/tree/{revision}",
        "hub",
        "Files and folders",
        JSON,
        &["recursive", "expand", "limit"],
    ),
    get("/api/datasets/{namespace}/{name}/refs", "hub", "Branches and tags", JSON, &[]),
    get("/api/datasets/{namespace}/{name}/commits/{revision}", "hub", "Versions, newest first", JSON, &[]),
    get("/api/datasets/{namespace}/{name}/auth-check", "hub", "Whether one may read the rows", "text/plain", &[]),
    get(
        "/api/datasets/{namespace}/{name}/croissant",
        "hub",
        "Croissant of the newest version",
        "application/ld+json",
        &[],
    ),
    get(
        "/api/datasets/{namespace}/{name}/croissant/{revision}",
        "hub",
        "Croissant of a version",
        "application/ld+json",
        &[],
    ),
    get(
        "/api/datasets/{namespace}/{name}/compare/{pair}",
        "hub",
        "What changed between two versions (`acequia-difference/1`); 202 until it is computed",
        JSON,
        &[],
    ),
    get(
        "/datasets/{namespace}/{name}/resolve/{revision}/{path}",
        "hub",
        "Bytes of a file, whole or a range",
        "*/*",
        &[],
    ),
    get(
        "/api/datasets/{namespace}/{name}/xet-read-token/{revision}",
        "hub",
        "Where files are read by Xet, and what is shown there",
        JSON,
        &[],
    ),
    get(
        "/api/datasets/{namespace}/{name}/xet/{revision}/v2/reconstructions/{file}",
        "hub",
        "Of which xorbs a file, or a range of it, is made (Xet protocol 1.1.0; `v1` in its first form)",
        JSON,
        &[],
    ),
    get(
        "/api/datasets/{namespace}/{name}/xet/{revision}/xorbs/{file}/{number}",
        "hub",
        "Bytes of a xorb, whole or a range",
        "application/octet-stream",
        &[],
    ),
    get("/api/openapi.json", "hub", "This description", JSON, &[]),
    get(
        "/datasets/{namespace}/{name}/v/{version}/SHA256SUMS",
        "descriptions",
        "Checksums of all files",
        "text/plain",
        &[],
    ),
    get(
        "/datasets/{namespace}/{name}/v/{version}/seal.json",
        "descriptions",
        "The exit seal, to be checked",
        JSON,
        &[],
    ),
    get(
        "/datasets/{namespace}/{name}/v/{version}/bundle.tar",
        "hub",
        "The whole version as one archive, whole or a range",
        "application/x-tar",
        &[],
    ),
    get("/catalogue.ttl", "harvesting", "DCAT-AP feed, Turtle", "text/turtle", &["page"]),
    get("/catalogue.jsonld", "harvesting", "DCAT-AP feed, JSON-LD", "application/ld+json", &["page"]),
    get(
        "/oai",
        "harvesting",
        "OAI-PMH 2.0",
        "text/xml",
        &["!verb", "identifier", "metadataPrefix", "from", "until", "set", "resumptionToken"],
    ),
    get("/ga4gh/drs/v1/service-info", "harvesting", "GA4GH service info", JSON, &[]),
    get("/ga4gh/drs/v1/objects/{object}", "harvesting", "A file or a version as a DRS object", JSON, &[]),
    get("/is-valid", "viewer", "What the viewer can show", JSON, VIEW),
    get("/splits", "viewer", "Splits", JSON, VIEW),
    get("/size", "viewer", "Rows and bytes", JSON, VIEW),
    get("/info", "viewer", "Features and splits", JSON, &["!dataset", "config", "at"]),
    get("/parquet", "viewer", "Parquet files", JSON, VIEW),
    get("/first-rows", "viewer", "The first rows of a split", JSON, VIEW_SPLIT),
    get("/rows", "viewer", "Rows of a split", JSON, VIEW_ROWS),
    get("/filter", "viewer", "Rows of a split that fulfil a condition", JSON, VIEW_FILTER),
    get("/search", "viewer", "Rows of a split in which words occur", JSON, VIEW_SEARCH),
    get("/statistics", "viewer", "Counts per column of a split, small ones left out", JSON, VIEW_SPLIT),
];

/// One address that needs a token: its method and path, what it does, and the media type of its body, if it has one.
///
/// The hub does not answer them: who stands in front of it does, where outside authors may write.
struct Written {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    body: Option<&'static str>,
}

const fn written(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    body: Option<&'static str>,
) -> Written {
    Written { method, path, summary, body }
}

const WRITTEN: [Written; 14] = [
    written("get", "/api/whoami-v2", "Whose token it is", None),
    written("post", "/api/repos/create", "Begin a deposit", Some(JSON)),
    written(
        "delete",
        "/api/repos/delete",
        "Remove a deposit with its bytes, for good; refused once something is published under its name",
        Some(JSON),
    ),
    written("post", "/api/validate-yaml", "What a card lacks", Some(JSON)),
    written(
        "post",
        "/api/datasets/{namespace}/{name}/preupload/{revision}",
        "How files are to be sent, and which are there already",
        Some(JSON),
    ),
    written(
        "post",
        "/datasets/{namespace}/{name}.git/info/lfs/objects/batch",
        "Addresses for large files, whole or in parts; good for six hours and for these bytes only",
        Some("application/vnd.git-lfs+json"),
    ),
    written(
        "post",
        "/api/datasets/{namespace}/{name}/commit/{revision}",
        "Commit files to main or another branch; 412 when another commit came first",
        Some("application/x-ndjson"),
    ),
    written(
        "post",
        "/api/datasets/{namespace}/{name}/tag/{revision}",
        "Hand a commit of main in as vX.Y.Z; 422 with findings when it is not fit",
        Some(JSON),
    ),
    written("post", "/api/datasets/{namespace}/{name}/branch/{branch}", "Make a branch of a deposit", Some(JSON)),
    written("delete", "/api/datasets/{namespace}/{name}/branch/{branch}", "Give a branch of a deposit up", None),
    written("get", "/api/datasets/{namespace}/{name}/xet-write-token/{revision}", "A pass for uploading by Xet", None),
    written(
        "post",
        "/v1/xorbs/default/{object}",
        "Chunks of files (Xet), with a pass",
        Some("application/octet-stream"),
    ),
    written("post", "/v1/shards", "What files are made of (Xet), with a pass", Some("application/octet-stream")),
    written(
        "delete",
        "/api/datasets/{namespace}/{name}/tag/{revision}",
        "Always refused: a tag stays where it is",
        None,
    ),
];

/// What a router in front of the hub answers to readers.
const PASSPORTS: [Written; 2] = [
    written("get", "/ga4gh/jwks.json", "Keys of the GA4GH visas that this node issues", None),
    written("get", "/ga4gh/userinfo", "Visas about what the reader of the token promised and was granted here", None),
];

fn written_operation(path: &str, tag: &str, route: &Written) -> Value {
    let mut operation = operation(path, tag, route.summary, JSON, &[]);
    for unlike in ["304", "410"] {
        if let Some(answers) = operation["responses"].as_object_mut() {
            answers.shift_remove(unlike);
        }
    }
    // Who sends none is told why it is refused.
    operation["security"] = json!([{ "token": [] }, {}]);
    if let Some(media_type) = route.body {
        operation["requestBody"] = json!({ "required": true, "content": { media_type: {} } });
    }
    operation
}

fn parameter(name: &str, needed: bool) -> Value {
    let Some(own) = PARAMETERS.iter().find(|parameter| parameter.name == name) else { return Value::Null };
    let example: Value = match own.kind {
        "integer" => own.example.parse::<i64>().map_or(Value::Null, Value::from),
        "boolean" => Value::from(own.example == "true"),
        _ => own.example.into(),
    };
    let mut schema: Map<String, Value> = serde_json::from_str(own.schema).unwrap_or_default();
    schema.insert("type".to_owned(), own.kind.into());
    json!({
        "name": own.name, "in": own.place, "required": needed || own.place == "path", "description": own.description,
        "schema": schema, "example": example,
    })
}

fn operation(route_path: &str, tag: &str, summary: &str, media_type: &str, asked: &[&str]) -> Value {
    let in_path = route_path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let parameters: Vec<Value> = in_path
        .map(|name| parameter(name, true))
        .chain(asked.iter().map(|name| parameter(name.trim_start_matches('!'), name.starts_with('!'))))
        .collect();
    let mut answers = json!({ "200": { "description": summary, "content": { media_type: {} } } });
    if route_path.contains("/compare/") {
        answers["202"] = json!({ "description": "It is being computed; see Retry-After.", "content": { JSON: {} } });
        answers["303"] = json!({ "description": "The later version was named first." });
    }
    if route_path.contains("/ga4gh/") {
        answers["404"] = json!({ "description": "No such object.", "content": { JSON: { "schema": {
            "type": "object", "required": ["msg", "status_code"],
            "properties": { "msg": { "type": "string" }, "status_code": { "type": "integer" } },
        } } } });
    }
    if route_path.contains("/resolve/") || route_path.contains("/xorbs/{file}") {
        answers["206"] = json!({ "description": "The range that was asked for.", "content": { media_type: {} } });
    }
    answers["304"] = json!({ "description": "Not changed since the ETag in If-None-Match." });
    if ["{revision}", "{version}", "{pair}"].iter().any(|named| route_path.contains(named)) {
        answers["410"] = json!({ "$ref": "#/components/responses/Gone" });
    }
    answers["default"] = json!({ "$ref": "#/components/responses/Problem" });
    json!({ "tags": [tag], "summary": summary, "parameters": parameters, "responses": answers })
}

/// Whether it is a truth value, in one of the ways in which clients write them.
pub(crate) fn is_truth(value: &str) -> bool {
    TRUTHS.contains(&value)
}

/// Truth values, as clients write them.
const TRUTHS: [&str; 6] = ["true", "True", "1", "false", "False", "0"];

/// Whether the values of parameters are what the description says of them: whole numbers, and truth values as clients write them.
pub(crate) fn well_typed(query: &Fields) -> bool {
    PARAMETERS.iter().filter(|parameter| parameter.place == "query").all(|parameter| {
        query.all(parameter.name).all(|value| match parameter.kind {
            "integer" => value.parse::<i32>().is_ok_and(|number| number >= 0),
            "boolean" => is_truth(value),
            _ => true,
        })
    })
}

/// The path for models of a route of data sets, where there is one. Hub clients ask for a model's files by its name alone.
fn of_models(path: &str) -> Option<String> {
    let rows_only = ["/compare/", "/croissant"].iter().any(|part| path.contains(part));
    let of_model = |rest: &str| rest.replace("{name}", "{model}");
    match (path.strip_prefix("/api/datasets"), path.strip_prefix("/datasets")) {
        _ if rows_only => None,
        (Some(rest), _) => Some(format!("/api/models{}", of_model(rest))),
        (_, Some(rest)) if rest.contains("/resolve/") || rest.contains("/info/lfs/") => Some(of_model(rest)),
        (_, Some(rest)) => Some(format!("/models{}", of_model(rest))),
        _ => None,
    }
}

/// What a route of data sets gives, in words about models.
fn in_models(summary: &str) -> String {
    [("Data sets", "Models"), ("data set", "model"), ("the rows", "what is not open")]
        .into_iter()
        .fold(summary.to_owned(), |words, (of_rows, own)| words.replace(of_rows, own))
}

/// `GET /api/openapi.json`.
pub(crate) fn document(address: &str) -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let own = operation(route.path, route.tag, route.summary, route.media_type, route.query);
        paths.insert(route.path.to_owned(), json!({ "get": own }));
        if let Some(path) = of_models(route.path) {
            let own = operation(&path, route.tag, &in_models(route.summary), route.media_type, route.query);
            paths.insert(path, json!({ "get": own }));
        }
    }
    for (artefact, name) in [(Artefact::Dataset, "name"), (Artefact::Model, "model")] {
        for offered in forms(artefact) {
            let path = format!("/{}/{{namespace}}/{{{name}}}/v/{{version}}/{}", plural(artefact), offered.name);
            let own = operation(&path, "descriptions", offered.title, offered.media_type, &[]);
            paths.insert(path, json!({ "get": own }));
        }
    }
    let body = json!({
        "type": "object", "required": ["paths"],
        "properties": { "paths": { "type": "array", "items": { "type": "string" }, "maxItems": 1000 }, "expand": { "type": "boolean" } },
    });
    // A form cannot say that a list is empty.
    let mut form = body.clone();
    form["required"] = json!([]);
    form["minProperties"] = json!(1);
    form["properties"]["paths"]["minItems"] = json!(1);
    form["properties"]["expand"] = json!({ "type": "string", "enum": TRUTHS });
    let content = json!({ JSON: { "schema": body }, "application/x-www-form-urlencoded": { "schema": form } });
    for path in ["/api/datasets/{namespace}/{name}", "/api/models/{namespace}/{model}"] {
        let path = format!("{path}/paths-info/{{revision}}");
        let mut asked = operation(&path, "hub", "What is there of some paths", JSON, &[]);
        asked["requestBody"] = json!({ "required": true, "content": content });
        paths.insert(path, json!({ "post": asked }));
    }
    // The same with its arguments as a form.
    let mut harvest = paths["/oai"]["get"].clone();
    harvest["parameters"] = json!([]);
    let arguments = ["verb", "identifier", "metadataPrefix", "from", "until", "set", "resumptionToken"];
    let arguments: Map<String, Value> =
        arguments.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
    harvest["requestBody"] = json!({ "required": true, "content": { "application/x-www-form-urlencoded": {
        "schema": { "type": "object", "required": ["verb"], "properties": arguments },
    } } });
    paths["/oai"]["post"] = harvest;
    let written =
        WRITTEN.iter().map(|route| ("deposits", route)).chain(PASSPORTS.iter().map(|route| ("access", route)));
    for (tag, route) in written {
        let own_paths = [Some(route.path.to_owned()), of_models(route.path)];
        for path in own_paths.into_iter().flatten() {
            let own = written_operation(&path, tag, route);
            let methods = paths.entry(path).or_insert_with(|| json!({}));
            methods[route.method] = own;
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Acequia hub", "version": env!("CARGO_PKG_VERSION"),
            "summary": "Open health data sets and models: the interface of the Hub, descriptions for catalogues, and a viewer.",
            "description": "Everything that is published is read-only, and open unless those who gave it put conditions on its use: then card, statistics and descriptions are open, and the rows are for who keeps the conditions, which a token shows (401 and 403 say GatedRepo). Who has a token of the trustee reads and writes drafts of its own besides, under the addresses tagged deposits and with the same reading ones. Published versions never change, but one can be taken down: whoever keeps an answer asks again with its ETag, and gets 304, or 410 when the version is not served any more.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": address }],
        "tags": [
            { "name": "hub", "description": "As huggingface_hub and datasets read it." },
            { "name": "viewer", "description": "As the Hub's data set viewer answers; also under the host name datasets-server." },
            { "name": "descriptions", "description": "A version in the forms that catalogues read." },
            { "name": "harvesting", "description": "The whole catalogue." },
            { "name": "access", "description": "GA4GH passports. Those that come in go into the body of a DRS question, sent by POST; POST /ga4gh/token makes one of the visas (RFC 8693)." },
            { "name": "deposits", "description": "As huggingface_hub, datasets and @huggingface/hub write; with a token only." },
        ],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": { "Gone": {
                "description": "The version is not served any more; the header Link leads to its page and to the version in its place.",
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
                    JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
            }, "Problem": {
                "description": "A refusal, with X-Error-Code and X-Error-Message as Hub clients read them.",
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
                    JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
            } },
            "schemas": { "Problem": {
                "type": "object",
                "description": "RFC 9457, with the members that Hub clients read.",
                "required": ["type", "title", "status", "detail", "error"],
                "properties": {
                    "type": { "type": "string", "format": "uri-reference" }, "title": { "type": "string" },
                    "status": { "type": "integer" }, "detail": { "type": "string" },
                    "error": { "type": "string" }, "code": { "type": "string" },
                    "page": { "type": "string", "format": "uri-reference" }, "successor": { "type": "string" },
                },
            } },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_described_and_every_viewer_route_is_there() {
        let document = document("http://a.example");
        let text = document.to_string();
        for route in viewer::ROUTES {
            assert!(document["paths"].get(format!("/{route}")).is_some(), "{route}");
        }
        assert!(!text.contains("\"parameters\":[null") && !text.contains(",null"), "{text}");
    }
}
