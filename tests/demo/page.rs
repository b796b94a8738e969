//! The web page, in a browser, and what it shows of the model.

use serde_json::Value;

use crate::http::block_on;
use crate::program::{Server, passes_script};

#[test]
fn the_page_shows_the_same_answers() {
    if std::env::var_os("PERIGEE_TEST_BROWSER").is_none() {
        println!("skipped: PERIGEE_TEST_BROWSER is not set (cargo xtask test looks for a browser)");
        return;
    }
    let args = ["--demo", "-c", "8192"];
    let open = Server::start(&args);
    let locked = Server::start(&[&args[..], &["--api-key", "moon"]].concat());
    passes_script("page.py", &[&open, &locked]);
}

#[test]
fn the_list_of_models_says_that_it_is_not_kimi() {
    let server = Server::start(&["--demo", "--alias", "kimi-k2.6"]);
    let list: Value = block_on(async {
        let url = format!("{}/v1/models", server.url);
        let answer = reqwest::get(url).await.expect("an answer");
        answer.json().await.expect("the list is JSON")
    });
    let notice = list["data"][0]["notice"].as_str().expect("a notice");
    assert!(
        notice.contains("not Kimi") && !notice.contains('\n'),
        "{notice}"
    );
}
