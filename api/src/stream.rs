//! Answers that are too long to be held: each part is read when the one before was taken.

use crate::error::Error;
use axum::body::Body;

/// A body of parts. `next` reads the part at a state and says where the next one is, or that there is none; no part is
/// empty. When it fails the connection breaks off, so that nobody takes a piece for the whole.
pub fn body<S, F, T>(state: S, mut next: F) -> Body
where
    S: Send + 'static,
    F: FnMut(S) -> T + Send + 'static,
    T: Future<Output = Result<Option<(String, S)>, Error>> + Send + 'static,
{
    Body::from_stream(futures::stream::try_unfold(state, move |state| {
        let part = next(state);
        async move {
            part.await.map_err(|cause| {
                tracing::warn!(?cause, "failed in the midst of a long answer");
                std::io::Error::other("the ledger failed in the midst of the answer")
            })
        }
    }))
}
