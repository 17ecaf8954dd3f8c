//! Holding on to something until the answer to a request is sent.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage as _;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{self, ServiceRequest, ServiceResponse};
use actix_web::http::header::TRANSFER_ENCODING;
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use futures_util::{StreamExt as _, stream};

/// Keeps hold of a chunked body until the answer to it is sent.
///
/// A connection whose body was not read to its end is closed within a second, as long as somebody holds that
/// body. One that was let go would be read on, to where its sender likes and for as long as they like.
///
/// # Errors
/// Only what `next` fails with.
pub async fn hold(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, actix_web::Error> {
    if !request.headers().contains_key(TRANSFER_ENCODING) {
        return next.call(request).await;
    }
    let held = Rc::new(RefCell::new(request.take_payload()));
    let shared = Rc::clone(&held);
    let payload = stream::poll_fn(move |context| shared.borrow_mut().poll_next_unpin(context));
    request.set_payload(dev::Payload::Stream { payload: Box::pin(payload) });
    let response = next.call(request).await?;
    Ok(response.map_body(|_, answer| hold_until_sent(answer, held)))
}

/// Returns an answer that holds something until it is sent, or given up.
pub(crate) fn hold_until_sent<T: Unpin + 'static>(answer: BoxBody, held: T) -> BoxBody {
    BoxBody::new(Holding { answer, _held: held })
}

/// An answer that holds something until it is sent, or given up.
struct Holding<T> {
    answer: BoxBody,
    _held: T,
}

impl<T: Unpin + 'static> MessageBody for Holding<T> {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(context)
    }
}
