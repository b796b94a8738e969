//! What a server without a model answers; with one it is tested over loopback.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request as HttpRequest};
use serde_json::{Map, Value};
use tower::ServiceExt as _;

use super::*;
use crate::{SamplingDefaults, ServerOptions};

/// What browsers send.
const BROWSER: (&str, &str) = (
    "accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
);

fn options() -> ServerOptions {
    ServerOptions {
        aliases: vec!["kimi-k2.6".to_owned()],
        api_keys: Vec::new(),
        max_body_bytes: 1 << 20,
        ping_interval: Duration::from_secs(15),
        page: true,
        cors: false,
        sampling: SamplingDefaults::default(),
        template_kwargs: Map::new(),
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    /// A header's text; empty if it is not there.
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Asks a server that is loading its model.
async fn ask_with(
    options: ServerOptions,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let state = ServerState::new(options);
    state.set_progress(115, 460);
    let mut request = HttpRequest::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from("{}")).unwrap();
    let response = router(state).oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    Answer {
        status,
        headers,
        body: String::from_utf8(body.into()).unwrap(),
    }
}

async fn ask(method: &str, path: &str) -> Answer {
    ask_with(options(), method, path, &[]).await
}

async fn get_with(path: &str, headers: &[(&str, &str)]) -> Answer {
    ask_with(options(), "GET", path, headers).await
}

#[tokio::test]
async fn while_it_loads_health_says_how_far_it_has_come() {
    let answer = ask("GET", "/health").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    assert_eq!(answer.json()["error"]["message"], "Loading model");
    assert_eq!(answer.json()["error"]["progress"], 0.25);
}

#[tokio::test]
async fn while_it_loads_completions_are_unavailable_and_models_are_listed() {
    let answer = ask("POST", "/v1/chat/completions").await;
    assert_eq!(answer.status, 503);
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(answer.json()["error"]["type"], "unavailable_error");
    let answer = ask("GET", "/v1/models").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["data"][0]["id"], "kimi-k2.6");
}

#[tokio::test]
async fn browsers_get_the_page_and_programs_a_line() {
    let page = get_with("/", &[BROWSER]).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("vary"), "accept");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(
        page.header("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    assert!(page.body.starts_with("<!doctype html>"));
    for headers in [&[][..], &[("accept", "*/*")], &[("accept", "text/plain")]] {
        let line = get_with("/", headers).await;
        assert_eq!(line.status, 200);
        assert_eq!(line.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(line.header("vary"), "accept");
        assert_eq!(
            line.body,
            "Perigee is running. Point an OpenAI client at /v1.\n"
        );
    }
}

#[tokio::test]
async fn everything_that_the_page_loads_is_there() {
    let mut wanted: Vec<String> = vec!["main.js".to_owned()];
    for attribute in ["href=\"", "src=\""] {
        let index = get_with("/", &[BROWSER]).await.body;
        let named = index.split(attribute).skip(1);
        wanted.extend(named.map(|rest| {
            let address = rest.split('"').next().unwrap();
            // Relative, so that the page works under a prefix.
            address.strip_prefix("page/").expect(address).to_owned()
        }));
    }
    let mut at = 0;
    while at < wanted.len() {
        let part = get_with(&format!("/page/{}", wanted[at]), &[]).await;
        assert_eq!(part.status, 200, "{}", wanted[at]);
        assert_eq!(part.header("x-content-type-options"), "nosniff");
        let expected = match wanted[at].rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("a part of the page of type {other}"),
        };
        assert_eq!(part.header("content-type"), expected);
        for rest in part.body.split("from \"./").skip(1) {
            let module = rest.split('"').next().unwrap();
            if !wanted.iter().any(|known| known == module) {
                wanted.push(module.to_owned());
            }
        }
        at += 1;
    }
    assert!(wanted.len() > 10, "{wanted:?}");
    assert_eq!(get_with("/page/router.rs", &[]).await.status, 404);
}

#[tokio::test]
async fn a_browser_that_has_a_part_is_not_sent_it_again() {
    for path in ["/", "/page/main.js"] {
        let first = get_with(path, &[BROWSER]).await;
        assert_eq!(first.header("cache-control"), "no-cache");
        let tag = first.header("etag");
        assert!(tag.len() > 2 && tag.starts_with('"'), "{tag}");
        for known in [tag, &format!("\"other\", W/{tag}"), "*"] {
            let again = get_with(path, &[BROWSER, ("if-none-match", known)]).await;
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}");
            assert_eq!(again.header("etag"), tag);
        }
        let other = get_with(path, &[BROWSER, ("if-none-match", "\"other\"")]).await;
        assert_eq!((other.status, other.body), (200, first.body));
    }
}

#[tokio::test]
async fn head_says_what_get_would() {
    for path in ["/", "/page/style.css"] {
        let head = ask_with(options(), "HEAD", path, &[BROWSER]).await;
        let whole = get_with(path, &[BROWSER]).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        for name in ["content-type", "etag", "content-length"] {
            assert_eq!(head.header(name), whole.header(name), "{name} of {path}");
        }
    }
    assert_eq!(ask("POST", "/page/main.js").await.status, 405);
}

#[tokio::test]
async fn the_page_is_open_where_a_key_is_demanded() {
    let locked = || ServerOptions {
        api_keys: vec!["moon".to_owned()],
        ..options()
    };
    for (path, expected) in [
        ("/", 200),
        ("/page/main.js", 200),
        ("/page/nothing.js", 404),
        ("/page/more/main.js", 401),
        ("/v1/page/main.js", 401),
    ] {
        let answer = ask_with(locked(), "GET", path, &[BROWSER]).await;
        assert_eq!(answer.status, expected, "{path}");
    }
    let answer = ask_with(locked(), "POST", "/v1/chat/completions", &[]).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_server_without_the_page_shows_none_of_it() {
    let bare = || ServerOptions {
        page: false,
        ..options()
    };
    let answer = ask_with(bare(), "GET", "/", &[BROWSER]).await;
    assert!(answer.body.starts_with("Perigee is running."));
    for path in ["/page/main.js", "/page/style.css"] {
        let answer = ask_with(bare(), "GET", path, &[]).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json()["error"]["type"], "not_found_error");
    }
}
