//! The switch of the web page, in every spelling. What the page does is tested in a browser, with
//! the demonstration model.

use std::fs;

use super::{block_on, script};
use crate::program::{Server, perigee};

/// Whether the server shows the page, having said where, or nothing of it.
fn shows_the_page(server: &Server) -> bool {
    block_on(async {
        let get = |path: &str| {
            reqwest::Client::new()
                .get(format!("{}{path}", server.url))
                .header("accept", "text/html")
                .send()
        };
        let index = get("/").await.expect("an answer").text().await.unwrap();
        let part = get("/page/main.js").await.expect("an answer").status();
        let shown = index.starts_with("<!doctype html>");
        assert_eq!(part, if shown { 200 } else { 404 });
        assert!(shown || index.starts_with("Perigee is running."), "{index}");
        let told = server.log.contains(&format!("{}/\n", server.url));
        assert_eq!(told, shown, "{}", server.log);
        shown
    })
}

/// A model that is what it says has no notice for the page to show.
fn has_no_notice(server: &Server) -> bool {
    block_on(async {
        let url = format!("{}/v1/models", server.url);
        let list = reqwest::get(url).await.expect("an answer").text().await;
        !list.expect("a list").contains("notice")
    })
}

fn check(args: &[&str], expected: bool) {
    let script = script();
    let args = [&["--scripted", &script], args].concat();
    let server = Server::start(&args);
    assert_eq!(shows_the_page(&server), expected, "{args:?}");
    assert!(has_no_notice(&server));
}

#[test]
fn the_page_is_switched_off_as_the_peers_do() {
    check(&[], true);
    check(&["--no-webui"], false);
    check(&["--no-ui"], false);
    check(&["--webui", "none"], false);
    check(&["--webui", "llamacpp", "--queue", "8"], true);
    check(&["--webui", "--queue", "8"], true);
    check(&["--no-webui", "--ui"], true);
}

#[test]
fn the_page_is_switched_off_by_file_and_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("perigee.toml");
    fs::write(&file, "[server]\nwebui = \"none\"\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    check(&config, false);
    check(&[&config[..], &["--webui"]].concat(), true);
    let mut command = perigee();
    command
        .args(["serve", "--port", "0", "--scripted", &script()])
        .env("PERIGEE_WEBUI", "none");
    assert!(!shows_the_page(&Server::spawn(&mut command)));
}
