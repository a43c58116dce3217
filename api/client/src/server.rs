//! The ledger, as a client of it: who asks, and how an answer or a refusal is read.

use crate::arguments::Reach;
use crate::error::Error;
use crate::session::{Place, Session};
use crate::{sign_in, web};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use siyada_model::wire::{LARGEST_PAGE, Page, Problem};

/// What is asked beside the path.
pub type Query<'a> = [(&'a str, Option<String>)];

/// The ledger.
pub struct Server {
    client: reqwest::Client,
    base: Url,
    token: String,
}

impl Server {
    /// The ledger that the options name or somebody is signed in to, with a token that is good now.
    pub async fn reach(reach: &Reach) -> Result<Self, Error> {
        if let Some(path) = &reach.token_file {
            let token = std::fs::read_to_string(path).map_err(Error::file(path))?;
            let server = reach.server.as_deref().ok_or_else(|| {
                Error::Wrong("--token-file needs --server: where to send the token".to_owned())
            })?;
            return Self::with(server, reach, token.trim().to_owned());
        }
        let place = Place::usual()?;
        let session =
            place.read()?.ok_or_else(|| Error::NotSignedIn("nobody is signed in here".to_owned()))?;
        if let Some(other) = reach.server.as_deref().filter(|other| *other != session.server) {
            let signed_in = &session.server;
            return Err(Error::NotSignedIn(format!("you are signed in to {signed_in}, not to {other}")));
        }
        let session = sign_in::renewed(&place, session).await?;
        Self::of_session(&session, reach)
    }

    /// The ledger of a session. Its token goes nowhere else.
    pub fn of_session(session: &Session, reach: &Reach) -> Result<Self, Error> {
        let reach = Reach {
            ca: reach.ca.clone().or_else(|| session.ca.clone()),
            connect_to: reach.connect_to.or(session.connect_to),
            ..reach.clone()
        };
        Self::with(&session.server, &reach, session.token.clone())
    }

    fn with(server: &str, reach: &Reach, token: String) -> Result<Self, Error> {
        let base = web::safe(server)?;
        let client = web::client(&base, reach.ca.as_deref(), reach.connect_to)?;
        Ok(Self { client, base, token })
    }

    /// The token that is sent.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn url(&self, path: &[&str], query: &Query<'_>) -> Result<Url, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::Wrong(format!("{} cannot be a server", self.base)))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        let given = query.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        for (name, value) in given {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(url)
    }

    async fn ask(&self, method: Method, url: Url, body: Option<Vec<u8>>) -> Result<Vec<u8>, Error> {
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        web::body(self.answer(request).await?).await
    }

    /// An answer that is no refusal.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, Error> {
        let request = request.bearer_auth(&self.token).header(ACCEPT, "*/*");
        let answer = request.send().await.map_err(|cause| web::unreachable(&cause))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        match serde_json::from_slice::<Problem>(&web::body(answer).await?) {
            Ok(problem) => Err(Error::Refused(Box::new(problem))),
            Err(_) => Err(Error::NotNow(format!("{} answered {status}; is it the ledger?", self.base))),
        }
    }

    /// What is there.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &Query<'_>) -> Result<T, Error> {
        read(&self.ask(Method::GET, self.url(path, query)?, None).await?)
    }

    /// A file that is there.
    pub async fn file(&self, path: &[&str], query: &Query<'_>) -> Result<Vec<u8>, Error> {
        self.ask(Method::GET, self.url(path, query)?, None).await
    }

    /// A file that is there, however long it is, to be read as it comes.
    pub async fn open(&self, path: &[&str], query: &Query<'_>) -> Result<Response, Error> {
        self.answer(self.client.get(self.url(path, query)?).timeout(web::LONGEST_DOWNLOAD)).await
    }

    /// Every row of a list, however many pages it has.
    pub async fn all<T: DeserializeOwned>(&self, path: &[&str], query: &Query<'_>) -> Result<Vec<T>, Error> {
        self.pages(path, query, "pageToken").await
    }

    /// Every row of a stream, from an id on.
    pub async fn stream<T: DeserializeOwned>(&self, path: &[&str], after: i64) -> Result<Vec<T>, Error> {
        self.pages(path, &[("after", Some(after.to_string()))], "after").await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &Query<'_>,
        token: &str,
    ) -> Result<Vec<T>, Error> {
        let (mut rows, mut next) = (Vec::new(), None::<String>);
        loop {
            let first = |name: &str| next.is_none() || name != token;
            let mut query: Vec<_> = query.iter().filter(|(name, _)| first(name)).cloned().collect();
            query.push(("pageSize", Some(LARGEST_PAGE.to_string())));
            query.extend(next.clone().map(|next| (token, Some(next))));
            let page: Page<T> = self.get(path, &query).await?;
            rows.extend(page.items);
            match page.next_page_token {
                Some(again) if next.as_ref() == Some(&again) => {
                    return Err(Error::NotNow("the list does not end".to_owned()));
                }
                Some(token) => next = Some(token),
                None => return Ok(rows),
            }
        }
    }

    /// Sends something.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &Query<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|e| Error::Failed(e.to_string()))?;
        read(&self.ask(method, self.url(path, query)?, body).await?)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|cause| Error::not_understood(&cause))
}
