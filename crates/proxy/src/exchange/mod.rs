//! The exchange: one request and its answer, from a parsed head to the last byte.
//!
//! ```text
//! run -> admit (path, route, body bound) -> action -+-> respond, redirect: answered here
//!                                                   +-> forward: attempts -> relay | tunnel
//! ```
//!
//! Invariants: the request's head stays at the front of the scratch's `down` buffer until `run` ends, because retries,
//! the response's shape and the log line read it; the exchange commits when a final head goes downstream: before that
//! every failure becomes an answer, after it every failure ends the connection.

mod admit;
mod attempt;
mod body_gone;
mod checkout;
mod forward;
mod hash_key;
mod load_report;
mod local;
mod relay;
mod sticky;
mod tunnel;

use crate::connection::Connection;
use crate::generation::Terms;
use crate::grpc::GrpcCall;
use crate::plan::ActionPlan;
use crate::record::Record;
use crate::refusal::{ErrorCode, Form, Refusal};
use crate::scratch::Scratch;

/// What becomes of the caller's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may follow.
    KeepAlive,
    /// Nothing more can be said on it.
    Close,
    /// Answered while request bytes were still to come: half-close, then let the caller finish.
    Linger,
}

/// How an exchange went.
enum End {
    /// Answered; the request's message ends at this position of the `down` buffer.
    Answered { message_end: usize, keep_alive: bool },
    /// Nothing was sent yet and this must be; the request's message ends at this position of the `down` buffer, if all
    /// of it is known to be there.
    Refused { refusal: Refusal, message_end: Option<usize> },
    /// Answered while the request's body was not read to its end.
    Early,
    /// The connection is of no further use.
    Broken,
    /// The caller went away before there was an answer.
    Cancelled,
}

/// Serves the request whose head is the first `head_len` bytes of `scratch.down`.
pub(crate) async fn run(
    connection: &mut Connection,
    terms: &Terms,
    scratch: &mut Scratch,
    head_len: usize,
) -> After {
    let mut record = Record::new(terms.worker().now());
    record.bytes_in = head_len as u64;
    record.grpc = GrpcCall::of(&connection.stream, &scratch.request, &scratch.down.filled()[..head_len]);
    let end = serve(connection, terms, scratch, head_len, &mut record).await;
    let after = match end {
        End::Answered { message_end, keep_alive } => {
            record.finish(connection, terms, scratch, head_len);
            scratch.down.consume(message_end);
            return match keep_alive {
                true => After::KeepAlive,
                // The close is our choice: the next request may be on its way, and must not turn it into a reset.
                false if scratch.request.keep_alive || !scratch.down.is_empty() => After::Linger,
                false => {
                    connection.stream.say_close();
                    After::Close
                }
            };
        }
        End::Refused { refusal, message_end } => {
            let keep_alive = message_end.is_some()
                && scratch.request.keep_alive
                && !connection.is_closing()
                && !matches!(refusal, Refusal::Rejected(_) | Refusal::RequestTimeout);
            refuse(connection, terms, scratch, &mut record, refusal, keep_alive).await;
            record.finish(connection, terms, scratch, head_len);
            if let (true, Some(message_end)) = (keep_alive, message_end) {
                scratch.down.consume(message_end);
                return After::KeepAlive;
            }
            return After::Linger;
        }
        End::Early => After::Linger,
        End::Broken => After::Close,
        End::Cancelled => {
            record.error = Some(ErrorCode::Cancelled);
            record.status = ErrorCode::Cancelled.status().http;
            After::Close
        }
    };
    record.finish(connection, terms, scratch, head_len);
    after
}

async fn serve(
    connection: &mut Connection,
    terms: &Terms,
    scratch: &mut Scratch,
    head_len: usize,
    record: &mut Record,
) -> End {
    let route = match admit::admit(terms.listener(), connection.caller.as_deref(), scratch, head_len) {
        Ok(route) => route,
        Err(refusal) => {
            let message_end = body_gone::end_of_buffered_body(scratch, head_len);
            return End::Refused { refusal, message_end };
        }
    };
    record.route = Some(route);
    let route = &terms.plan().routes[route as usize];
    match &route.action {
        ActionPlan::Forward { split, branches } => {
            let branch = match split {
                Some(split) => branches[split.choose(&mut terms.worker().draw.borrow_mut())],
                None => branches[0],
            };
            record.series = Some(branch.series);
            record.service = Some(branch.service);
            forward::forward(connection, terms, scratch, head_len, route, branch.service, record).await
        }
        ActionPlan::Redirect { to, status, series } => {
            record.series = Some(*series);
            let answer = local::Answer::redirect(scratch, head_len, to, *status);
            local::answer(connection, terms, scratch, head_len, route, &answer, record).await
        }
        ActionPlan::Respond { status, body, series } => {
            record.series = Some(*series);
            if connection.stream.wants_tunnel() && (200..300).contains(status) {
                // It would say that the tunnel stands.
                return End::Refused { refusal: Refusal::UpgradeNotAllowed, message_end: None };
            }
            let answer = local::Answer::respond(*status, body);
            local::answer(connection, terms, scratch, head_len, route, &answer, record).await
        }
    }
}

/// Sends a refusal of a request whose head was understood, in the form that it asks for.
async fn refuse(
    connection: &mut Connection,
    terms: &Terms,
    scratch: &mut Scratch,
    record: &mut Record,
    refusal: Refusal,
    keep_alive: bool,
) {
    let (json, head_only) = local::wishes(scratch);
    let form = Form { json, head_only, keep_alive, grpc: record.grpc.is_some() };
    send_refusal(connection, terms, scratch, record, refusal, form).await;
}

/// Sends a refusal of a request whose head was not understood.
pub(crate) async fn refuse_unparsed(
    connection: &mut Connection,
    terms: &Terms,
    scratch: &mut Scratch,
    record: &mut Record,
    refusal: Refusal,
) {
    record.grpc = GrpcCall::of_unparsed(&connection.stream, scratch.down.filled());
    let form = Form { grpc: record.grpc.is_some(), ..Form::default() };
    send_refusal(connection, terms, scratch, record, refusal, form).await;
}

async fn send_refusal(
    connection: &mut Connection,
    terms: &Terms,
    scratch: &mut Scratch,
    record: &mut Record,
    refusal: Refusal,
    form: Form,
) {
    record.error = Some(refusal.code());
    record.rule = refusal.rule();
    record.status = if form.grpc { 200 } else { refusal.code().status().http };
    let mut out = std::mem::take(&mut scratch.to_caller);
    out.clear();
    refusal.write(form, &mut out);
    if connection.write_all(&out, terms.listener().body_idle).await {
        record.bytes_out += out.len() as u64;
    }
    scratch.to_caller = out;
}
