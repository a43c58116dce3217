//! The one place that speaks to object stores: S3 for buckets, IAM for the logins of instances, signed with AWS's version 4.
//!
//! Every instance has a bucket and a user of its own. The user may do with its bucket what the engine needs and nothing
//! elsewhere; the store itself refuses the rest.

use crate::backup::bucket;
use crate::plan::backup::StoreKey;
use crate::run::chain;
use crate::seen::secret_value;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use siyada_crds::catalogue::ObjectStorage;
use siyada_model::id::OrderUid;
use siyada_model::uri::escaped;
use std::time::Duration;

/// A call may take so long.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of a thousand objects that are read at most to measure a backup.
const MOST_PAGES: usize = 1_000;
/// Pages of a thousand objects that are removed at once; the rest waits for the next look, so that others are looked at too.
const MOST_EMPTIED: usize = 5;
/// Objects that are removed side by side.
const AT_ONCE: usize = 16;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The login of the site cannot be read.
    #[error("failed to read the site's login: {0}")]
    Login(String),
    /// It does not answer: try again.
    #[error("failed to reach the object store: {0}")]
    Unreachable(String),
    /// It refuses.
    #[error("the object store refuses to {0}: {1}")]
    Refused(&'static str, String),
}

/// A site's store, with the login that administers it.
pub struct Store<'a> {
    http: reqwest::Client,
    site: &'a ObjectStorage,
    key: StoreKey,
}

struct Call<'a> {
    method: Method,
    base: &'a str,
    service: &'static str,
    path: String,
    query: Vec<(&'static str, String)>,
    body: String,
}

impl<'a> Store<'a> {
    /// The store of a site, with the login that the site's Secret holds.
    ///
    /// # Errors
    /// [`StoreError::Login`] when there is no such Secret, or it is not whole.
    pub async fn of(client: &Client, namespace: &str, site: &'a ObjectStorage) -> Result<Self, StoreError> {
        let name = &site.credentials_secret;
        let missing = |what: String| StoreError::Login(format!("Secret {namespace}/{name}: {what}"));
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = secrets.get_opt(name).await.map_err(|e| missing(e.to_string()))?;
        let secret = secret.ok_or_else(|| missing("it does not exist".to_owned()))?;
        let secret = serde_json::to_value(&secret).unwrap_or(Value::Null);
        let value = |key: &str| secret_value(&secret, key).ok_or_else(|| missing(format!("it has no {key}")));
        let key = StoreKey { id: value("accessKeyId")?, secret: value("secretAccessKey")? };
        let mut http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
        http = http.redirect(reqwest::redirect::Policy::none());
        if let Some(ca) = &site.ca {
            let authority = reqwest::Certificate::from_pem(ca.as_bytes());
            http = http.tls_certs_only([authority.map_err(|e| missing(format!("the Site's ca: {e}")))?]);
        }
        let http = http.build().map_err(|e| missing(e.to_string()))?;
        Ok(Self { http, site, key })
    }

    /// A bucket, a user that may use it and nothing else, and a new login of that user; what logins it had are gone. Any
    /// number of times.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_up(&self, uid: &OrderUid) -> Result<StoreKey, StoreError> {
        let bucket = bucket(self.site, uid);
        self.make_bucket(&bucket).await?;
        let user = user(uid);
        self.iam("make a user", "CreateUser", &user, &[], "EntityAlreadyExists").await?;
        let objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"];
        self.policy(&user, "own", &policy(&bucket, &objects)).await?;
        self.new_login(&user).await
    }

    /// A login of a drill: it may read the bucket of one order, and write nowhere. Others of that drill are ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn let_drill(&self, uid: &OrderUid) -> Result<StoreKey, StoreError> {
        let user = drill_user(uid);
        self.iam("make a user", "CreateUser", &user, &[], "EntityAlreadyExists").await?;
        self.policy(&user, "drill", &policy(&bucket(self.site, uid), &["s3:GetObject"])).await?;
        self.new_login(&user).await
    }

    /// Ends the logins of an order's drill, with its user. Any number of times.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_drill(&self, uid: &OrderUid) -> Result<(), StoreError> {
        self.end_user(&drill_user(uid), &["drill"]).await
    }

    /// Ends the logins of a user, its rights and itself.
    async fn end_user(&self, user: &str, rights: &[&str]) -> Result<(), StoreError> {
        self.end_logins(user).await?;
        for right in rights {
            let more = [("PolicyName", (*right).to_owned())];
            self.iam("end a right", "DeleteUserPolicy", user, &more, "NoSuchEntity").await?;
        }
        self.iam("remove a user", "DeleteUser", user, &[], "NoSuchEntity").await.map(drop)
    }

    /// Ends every user of an order, with its logins and rights. Any number of times.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_users(&self, uid: &OrderUid) -> Result<(), StoreError> {
        self.end_user(&user(uid), &["own", "restore"]).await?;
        self.end_drill(uid).await
    }

    /// Removes for ever what an order has in the store: its users first, so that nobody writes any more, then what is in its
    /// bucket, then the bucket. True when nothing is left; false when there is more than is removed at once. Any number of times.
    ///
    /// # Errors
    /// [`StoreError`]; what is removed is removed. A bucket whose name does not end with the order's uid is refused.
    pub async fn remove(&self, uid: &OrderUid, bucket: &str) -> Result<bool, StoreError> {
        if !bucket.ends_with(&format!("-{uid}")) {
            return Err(StoreError::Refused("remove a bucket", format!("{bucket} is not of order {uid}")));
        }
        self.end_users(uid).await?;
        if !self.empty(bucket, "").await? {
            return Ok(false);
        }
        let call = self.s3(Method::DELETE, bucket, Vec::new(), String::new());
        self.call("remove a bucket", call, "NoSuchBucket").await?;
        Ok(true)
    }

    /// Removes the objects of a bucket whose names begin so. True when none is left.
    async fn empty(&self, bucket: &str, prefix: &str) -> Result<bool, StoreError> {
        for _ in 0..MOST_EMPTIED {
            let mut query = vec![("list-type", "2".to_owned())];
            if !prefix.is_empty() {
                query.push(("prefix", prefix.to_owned()));
            }
            let call = self.s3(Method::GET, bucket, query, String::new());
            let keys = texts(&self.call("list a bucket", call, "NoSuchBucket").await?, "Key");
            if keys.is_empty() {
                return Ok(true);
            }
            for some in keys.chunks(AT_ONCE) {
                let mut calls = Vec::new();
                for key in some {
                    calls.push(self.remove_object(bucket, key));
                }
                futures::future::try_join_all(calls).await?;
            }
        }
        Ok(false)
    }

    async fn remove_object(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
        let path = object_path(bucket, key);
        let call = Call { path, ..self.s3(Method::DELETE, bucket, Vec::new(), String::new()) };
        self.call("remove an object", call, "NoSuchKey").await.map(drop)
    }

    async fn end_logins(&self, user: &str) -> Result<(), StoreError> {
        let there = self.iam("list logins", "ListAccessKeys", user, &[], "NoSuchEntity").await?;
        for old in texts(&there, "AccessKeyId") {
            self.iam("end a login", "DeleteAccessKey", user, &[("AccessKeyId", old)], "NoSuchEntity").await?;
        }
        Ok(())
    }

    async fn new_login(&self, user: &str) -> Result<StoreKey, StoreError> {
        self.end_logins(user).await?;
        let made = self.iam("make a login", "CreateAccessKey", user, &[], "").await?;
        let one = |tag: &str| {
            let missing = || StoreError::Refused("make a login", format!("its answer has no {tag}"));
            texts(&made, tag).pop().ok_or_else(missing)
        };
        Ok(StoreKey { id: one("AccessKeyId")?, secret: one("SecretAccessKey")? })
    }

    /// Lets an instance read, and no more, the bucket that it is restored from.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn let_read(&self, uid: &OrderUid, origin: &str) -> Result<(), StoreError> {
        self.policy(&user(uid), "restore", &policy(origin, &["s3:GetObject"])).await
    }

    /// Ends that.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_read(&self, uid: &OrderUid) -> Result<(), StoreError> {
        let more = [("PolicyName", "restore".to_owned())];
        self.iam("end a right", "DeleteUserPolicy", &user(uid), &more, "NoSuchEntity").await.map(drop)
    }

    /// Bytes that a backup takes in the store, in its archive.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn size(&self, uid: &OrderUid, archive: &str, backup_id: &str) -> Result<i64, StoreError> {
        self.bytes(&bucket(self.site, uid), &format!("{archive}/base/{backup_id}/")).await
    }

    /// Bytes that the changes take in the store, in these archives.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn archive_size(&self, uid: &OrderUid, archives: &[String]) -> Result<i64, StoreError> {
        let mut bytes = 0_i64;
        for archive in archives {
            bytes =
                bytes.saturating_add(self.bytes(&bucket(self.site, uid), &format!("{archive}/wals/")).await?);
        }
        Ok(bytes)
    }

    /// Removes for ever one archive of an order, whose days are over. True when nothing of it is left; false when there is more than
    /// is removed at once. Any number of times.
    ///
    /// # Errors
    /// [`StoreError`]; what is removed is removed.
    pub async fn empty_archive(&self, uid: &OrderUid, archive: &str) -> Result<bool, StoreError> {
        self.empty(&bucket(self.site, uid), &format!("{archive}/")).await
    }

    /// Bytes of the objects of a bucket whose names begin so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bytes(&self, bucket: &str, prefix: &str) -> Result<i64, StoreError> {
        let mut bytes = 0_i64;
        let add = |page: &str| {
            let sizes = texts(page, "Size");
            bytes = sizes.iter().filter_map(|t| t.parse::<i64>().ok()).fold(bytes, i64::saturating_add);
        };
        self.pages(bucket, prefix, add).await?;
        Ok(bytes)
    }

    /// When the newest object came whose name begins so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest(&self, bucket: &str, prefix: &str) -> Result<Option<Timestamp>, StoreError> {
        let mut newest = None;
        let modified = |page: &str| texts(page, "LastModified").iter().filter_map(|t| t.parse().ok()).max();
        self.pages(bucket, prefix, |page| newest = newest.max(modified(page))).await?;
        Ok(newest)
    }

    /// Reads every page of the list of objects whose names begin so.
    async fn pages(&self, bucket: &str, prefix: &str, mut read: impl FnMut(&str)) -> Result<(), StoreError> {
        let mut after = None;
        for _ in 0..MOST_PAGES {
            let mut query = vec![("list-type", "2".to_owned()), ("prefix", prefix.to_owned())];
            query.extend(after.take().map(|token| ("continuation-token", token)));
            let page =
                self.call("list an archive", self.s3(Method::GET, bucket, query, String::new()), "").await?;
            read(&page);
            after = texts(&page, "NextContinuationToken").pop();
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn make_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        let region = &self.site.region;
        let body = match region.as_str() {
            "us-east-1" => String::new(),
            _ => format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}\
                 </LocationConstraint></CreateBucketConfiguration>"
            ),
        };
        let call = self.s3(Method::PUT, bucket, Vec::new(), body);
        self.call("make a bucket", call, "BucketAlreadyOwnedByYou").await.map(drop)
    }

    async fn policy(&self, user: &str, name: &str, document: &Value) -> Result<(), StoreError> {
        let more = [("PolicyName", name.to_owned()), ("PolicyDocument", document.to_string())];
        self.iam("write a right", "PutUserPolicy", user, &more, "").await.map(drop)
    }

    fn s3(&self, method: Method, bucket: &str, query: Vec<(&'static str, String)>, body: String) -> Call<'_> {
        Call { method, base: &self.site.endpoint, service: "s3", path: format!("/{bucket}"), query, body }
    }

    async fn iam(
        &self,
        what: &'static str,
        action: &str,
        user: &str,
        more: &[(&str, String)],
        fine: &str,
    ) -> Result<String, StoreError> {
        let mut form = format!("Action={action}&Version=2010-05-08&UserName={}", escaped(user));
        for (key, value) in more {
            form.push_str(&format!("&{key}={}", escaped(value)));
        }
        let base = self.site.iam_endpoint.as_deref().unwrap_or(&self.site.endpoint);
        let (path, query) = ("/".to_owned(), Vec::new());
        let call = Call { method: Method::POST, base, service: "iam", path, query, body: form };
        self.call(what, call, fine).await
    }

    /// Sends a call and answers with its text. A refusal with the code `fine` means that it is so already.
    async fn call(&self, what: &'static str, call: Call<'_>, fine: &str) -> Result<String, StoreError> {
        let host = call.base.trim_start_matches("https://");
        let mut query: Vec<String> =
            call.query.iter().map(|(k, v)| format!("{}={}", escaped(k), escaped(v))).collect();
        query.sort_unstable();
        let query = query.join("&");
        let hash = hex::encode(Sha256::digest(call.body.as_bytes()));
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let authorization = self.authorization(&call, host, &query, &hash, &now);
        let url = match query.is_empty() {
            true => format!("{}{}", call.base, call.path),
            false => format!("{}{}?{query}", call.base, call.path),
        };
        let mut request = self.http.request(call.method, url);
        if call.service == "iam" {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        request = request.header("x-amz-date", now).header("x-amz-content-sha256", hash);
        let request = request.header("authorization", authorization).body(call.body);
        let unreachable = |e: reqwest::Error| StoreError::Unreachable(chain(&e.without_url()));
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        let code = texts(&text, "Code").pop().unwrap_or_default();
        if status.is_success() || !fine.is_empty() && code == fine {
            return Ok(text);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(StoreError::Unreachable(format!("{status} {code}")));
        }
        let message = texts(&text, "Message").pop().unwrap_or_default();
        Err(StoreError::Refused(what, format!("{status} {code} {message}")))
    }

    fn authorization(&self, call: &Call<'_>, host: &str, query: &str, hash: &str, now: &str) -> String {
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let headers = format!("host:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{now}\n");
        let canonical = format!("{}\n{}\n{query}\n{headers}\n{signed}\n{hash}", call.method, call.path);
        let day = now.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.site.region, call.service);
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}");
        let first = format!("AWS4{}", self.key.secret);
        let key = [day, &self.site.region, call.service, "aws4_request"]
            .iter()
            .fold(first.into_bytes(), |key, part| mac(&key, part));
        let signature = hex::encode(mac(&key, &text));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            self.key.id
        )
    }
}

/// The path of an object: its name is escaped, but for what divides it.
fn object_path(bucket: &str, key: &str) -> String {
    let parts: Vec<String> = key.split('/').map(escaped).collect();
    format!("/{bucket}/{}", parts.join("/"))
}

fn user(uid: &OrderUid) -> String {
    format!("siyada-{uid}")
}

fn drill_user(uid: &OrderUid) -> String {
    format!("siyada-drill-{uid}")
}

/// What a user may do with a bucket and the objects in it.
fn policy(bucket: &str, objects: &[&str]) -> Value {
    let arn = format!("arn:aws:s3:::{bucket}");
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": objects, "Resource": [format!("{arn}/*")]},
        // The engine's tools ask whether the bucket exists, which no narrower right allows.
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn]},
    ]})
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "no length of a key is wrong")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The contents of every element of that name; these answers have no attributes on them and no elements in them.
fn texts(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let parts = xml.split(&open).skip(1).filter_map(|rest| rest.split_once(&close));
    let plain = |text: &str| {
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
        text.replace("&#34;", "\"").replace("&#39;", "'").replace("&apos;", "'").replace("&amp;", "&")
    };
    parts.map(|(text, _)| plain(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_texts_escaped() {
        let page =
            "<L><Contents><Size>12</Size></Contents><Contents><Size>30</Size></Contents><K>a&amp;b</K></L>";
        assert_eq!(texts(page, "Size"), ["12", "30"]);
        assert_eq!(texts(page, "K"), ["a&b"]);
        assert!(texts(page, "NextContinuationToken").is_empty());
        assert_eq!(escaped("a/b c~é"), "a%2Fb%20c~%C3%A9");
        assert_eq!(object_path("siyada-u", "g1/base/2026+01 a"), "/siyada-u/g1/base/2026%2B01%20a");
    }

    #[test]
    fn the_key_of_a_signature_is_that_of_the_published_example() {
        // The example of AWS's documentation of signing, 2012-02-15, us-east-1, iam.
        let first = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        let parts = ["20120215", "us-east-1", "iam", "aws4_request"];
        let key = parts.iter().fold(first, |key, part| mac(&key, part));
        assert_eq!(hex::encode(key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    #[test]
    fn a_right_names_one_bucket_only() {
        let text = policy("siyada-a", &["s3:GetObject"]).to_string();
        assert_eq!(text.matches("arn:aws:s3:::").count(), text.matches("arn:aws:s3:::siyada-a").count());
        assert!(!text.contains("siyada-a*") && text.contains("siyada-a/*"));
    }
}
