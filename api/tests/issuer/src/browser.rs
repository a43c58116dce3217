//! As much of a browser as signing in takes: cookies, redirects and forms.

use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, Url};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most pages and redirects of one visit.
const MOST_STEPS: usize = 40;

/// Somebody's browser. It keeps cookies by name, which is enough for one issuer.
#[derive(Debug)]
pub struct Browser {
    client: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    /// A browser without cookies.
    pub fn new() -> Self {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .build()
            .unwrap();
        Self { client, cookies: BTreeMap::new() }
    }

    /// Opens a page and fills every form it meets as `login` would, until a page has none; gives that page.
    pub async fn visit(&mut self, url: &str, login: &str) -> String {
        let mut next = (Method::GET, Url::parse(url).unwrap(), String::new());
        for _ in 0..MOST_STEPS {
            let (method, url, body) = next;
            let answer = self.send(method, &url, body).await;
            if answer.status().is_redirection() {
                let to = answer.headers()[LOCATION].to_str().unwrap();
                next = (Method::GET, url.join(to).unwrap(), String::new());
                continue;
            }
            let page = answer.text().await.unwrap();
            let Some(form) = Form::first(&page) else { return page };
            let fields: Vec<(&str, &str)> = form
                .fields
                .iter()
                .map(|(name, value)| match name.as_str() {
                    "login" => ("login", login),
                    "password" => ("password", "any"),
                    name => (name, value.as_str()),
                })
                .collect();
            next = (Method::POST, url.join(&form.action).unwrap(), encoded(&fields));
        }
        panic!("signing in did not end after {MOST_STEPS} steps");
    }

    async fn send(&mut self, method: Method, url: &Url, body: String) -> reqwest::Response {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self.client.request(method.clone(), url.clone()).header(COOKIE, cookies.join("; "));
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        let answer = request.send().await.unwrap();
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let (pair, rest) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() || rest.contains("01 Jan 1970") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

/// The form of a page.
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Form {
    fn first(page: &str) -> Option<Self> {
        let start = page.find("<form")?;
        let rest = &page[start..];
        let form = &rest[..rest.find("</form>").unwrap_or(rest.len())];
        let (head, _) = form.split_once('>')?;
        let inputs = form.split("<input").skip(1).filter_map(|input| {
            let (input, _) = input.split_once('>')?;
            Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default()))
        });
        Some(Self { action: attribute(head, "action")?, fields: inputs.collect() })
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

/// A form as the body of a request.
pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form").unwrap();
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_its_fields() {
        let page = r#"<p><form action="/a?b&amp;c" method="post"><input type="hidden" name="x" value="1"/><input required type="text" name="login"></form>"#;
        let form = Form::first(page).unwrap();
        assert_eq!(form.action, "/a?b&c");
        let fields = form.fields;
        assert_eq!(fields, [("x".to_owned(), "1".to_owned()), ("login".to_owned(), String::new())]);
        assert!(Form::first("<p>Signed in").is_none());
        assert_eq!(encoded(&[("a", "b c&d")]), "a=b+c%26d");
    }
}
