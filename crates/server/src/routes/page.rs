//! The web page: `GET /`, and its parts as `GET /page/NAME`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::state::ServerState;

/// Nothing from elsewhere, nothing inline, and in nobody's frame: whatever a model writes stays text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const INDEX: &str = include_str!("../page/index.html");

/// What the page loads: name, content type, content.
const PARTS: [(&str, &str, &str); 14] = [
    ("style.css", CSS, include_str!("../page/style.css")),
    ("answers.css", CSS, include_str!("../page/answers.css")),
    ("icon.svg", SVG, include_str!("../page/icon.svg")),
    ("main.js", JAVASCRIPT, include_str!("../page/main.js")),
    ("api.js", JAVASCRIPT, include_str!("../page/api.js")),
    (
        "conversation.js",
        JAVASCRIPT,
        include_str!("../page/conversation.js"),
    ),
    ("dom.js", JAVASCRIPT, include_str!("../page/dom.js")),
    ("inline.js", JAVASCRIPT, include_str!("../page/inline.js")),
    ("key.js", JAVASCRIPT, include_str!("../page/key.js")),
    (
        "markdown.js",
        JAVASCRIPT,
        include_str!("../page/markdown.js"),
    ),
    (
        "settings.js",
        JAVASCRIPT,
        include_str!("../page/settings.js"),
    ),
    ("status.js", JAVASCRIPT, include_str!("../page/status.js")),
    ("storage.js", JAVASCRIPT, include_str!("../page/storage.js")),
    ("view.js", JAVASCRIPT, include_str!("../page/view.js")),
];

/// The page for browsers, a line of text for programs that only look whether somebody is there.
pub(crate) async fn index(State(state): State<Arc<ServerState>>, headers: HeaderMap) -> Response {
    let mut response = if state.options.page && wants_html(&headers) {
        let mut page = unless_known(&headers, HTML, INDEX);
        page.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            header::HeaderValue::from_static(POLICY),
        );
        page
    } else {
        "Perigee is running. Point an OpenAI client at /v1.\n".into_response()
    };
    response
        .headers_mut()
        .insert(header::VARY, header::HeaderValue::from_static("accept"));
    response
}

/// One part of the page.
pub(crate) async fn part(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (_, content_type, content) = PARTS
        .iter()
        .find(|(part, ..)| *part == name)
        .ok_or_else(|| ApiError::not_found(format!("the page has no part {name:?}")))?;
    Ok(unless_known(&headers, content_type, content))
}

fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

/// The content, or 304 to a browser that has it. Browsers ask every time: after an update of the
/// server, no old part meets a new one.
fn unless_known(
    headers: &HeaderMap,
    content_type: &'static str,
    content: &'static str,
) -> Response {
    let tag = tag(content);
    let caching = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    if knows(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let content_type = [
        (header::CONTENT_TYPE, content_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (caching, content_type, content).into_response()
}

/// The same for the same content: by a hash without a seed.
fn tag(content: &str) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// Whether `If-None-Match` names the tag; proxies that compress make it a weak one.
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}
