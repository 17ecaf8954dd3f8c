//! Where a request stands in a trace: under a span that this service records, else where the caller says.

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest};
use domain::trace::{TRACEPARENT, TraceContext};
use platform::spans::{self, RecordedSpan};

use crate::http::measure::{method_label, route};

/// The header that tells a caller the trace of a request (draft of W3C Trace Context, Level 3).
pub const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// What is known of a request's trace while it is served.
pub struct RequestTrace {
    span: Option<RecordedSpan>,
    /// Where what the request brings about goes on from.
    context: Option<TraceContext>,
}

impl RequestTrace {
    /// Reads where the caller stands, and begins a span under it where spans are recorded.
    pub fn begin(request: &ServiceRequest) -> Self {
        let mut headers = request.headers().get_all(TRACEPARENT);
        // Of two of them neither is to be trusted.
        let header = headers.next().filter(|_| headers.next().is_none());
        let caller = header.and_then(|header| TraceContext::parse(header.as_bytes()));
        // Whoever looks whether the service is ready looks every second, and follows nothing.
        let is_probe = ["/livez", "/readyz"].contains(&request.path());
        let mut span = if is_probe { None } else { spans::of_request("request", caller.as_ref()) };
        if let Some(span) = &mut span {
            span.note("http.request.method", method_label(request.method()));
        }
        let own = span.as_ref().and_then(RecordedSpan::context);
        // What nobody records and nobody has asked for is not carried any further.
        let context = own.filter(|own| own.is_sampled() || caller.is_some()).or(caller);
        if let Some(context) = context {
            request.extensions_mut().insert(context);
        }
        Self { span, context }
    }

    /// Returns the id of the trace as logs have it.
    pub fn id(&self) -> Option<String> {
        self.context.map(|context| format!("{:032x}", context.trace_id()))
    }

    /// Ends the span, and tells the caller where the request stood.
    pub fn end(self, response: &mut ServiceResponse) {
        if let Some(mut span) = self.span {
            let (method, route) = (method_label(response.request().method()), route(response).to_owned());
            let status = response.status();
            span.rename(format!("{method} {route}"));
            span.note("http.route", route);
            span.note("http.response.status_code", i64::from(status.as_u16()));
            if status.is_server_error() {
                span.fail();
            }
        }
        let told = self.context.and_then(|context| HeaderValue::from_str(&context.to_string()).ok());
        if let Some(told) = told {
            response.headers_mut().insert(TRACERESPONSE, told);
        }
    }
}

/// Returns where what a request brings about goes on from, if it is in a trace.
pub fn of(request: &HttpRequest) -> Option<TraceContext> {
    request.extensions().get().copied()
}
