//! A client for what the exporter and other programs serve.

use std::sync::LazyLock;
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `content-type`.
    pub content_type: String,
    /// The body.
    pub body: String,
}

static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(client);

#[expect(
    clippy::disallowed_methods,
    reason = "a test talks to the exporter, not the exporter to GitLab"
)]
fn client() -> reqwest::Client {
    // An error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        // Tests have a runtime each; connections of one that has ended are dead.
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(60))
        .build()
        .expect("a client")
}

/// GET.
pub async fn get(url: &str) -> Answer {
    send(CLIENT.get(url)).await
}

/// GET with a header `accept`.
pub async fn get_as(url: &str, accept: &str) -> Answer {
    send(CLIENT.get(url).header("accept", accept)).await
}

/// GET with parameters.
pub async fn query(url: &str, parameters: &[(&str, &str)]) -> Answer {
    send(CLIENT.get(url).query(parameters)).await
}

/// POST.
pub async fn post(url: &str, body: impl Into<reqwest::Body>) -> Answer {
    send(CLIENT.post(url).body(body)).await
}

/// POST with headers.
pub async fn post_with(
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    let request = CLIENT.post(url).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    send(request).await
}

/// Whether anything answers.
pub async fn is_there(url: &str) -> bool {
    let answer = CLIENT.get(url).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// GET, where something may not listen yet.
pub async fn get_if_there(url: &str) -> Option<Answer> {
    try_send(CLIENT.get(url)).await.ok()
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    try_send(request).await.expect("an answer")
}

async fn try_send(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let header = response.headers().get("content-type");
    let content_type = header.and_then(|value| value.to_str().ok());
    Ok(Answer {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default().to_owned(),
        body: response.text().await?,
    })
}
