//! The local tasks in which streams of callers are served: each serves one after the other, and waits in between.
//!
//! A task for each stream would be allocated, moved and freed for each: its future is large, since it holds the whole
//! exchange.
//!
//! Invariants: a task serves one stream at a time; a panic in it ends that stream and that task alone; at most
//! [`WAITING_MAX`] wait.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::connection::{self, Connection};
use crate::worker::Worker;

/// Tasks that wait for a stream: enough for a busy moment, little enough to forget after one.
const WAITING_MAX: usize = 128;

/// The waiting tasks of a worker.
#[derive(Default)]
pub(crate) struct Servants {
    waiting: RefCell<Vec<Rc<Servant>>>,
}

#[derive(Default)]
struct Servant {
    charge: RefCell<Option<Connection>>,
    waker: RefCell<Option<Waker>>,
}

impl Servants {
    /// Has a stream served in a task that waits, else in a new one.
    pub(super) fn serve(&self, worker: &Rc<Worker>, charge: Connection) {
        let Some(servant) = self.waiting.borrow_mut().pop() else {
            tokio::task::spawn_local(serve_each(Rc::clone(worker), charge));
            return;
        };
        *servant.charge.borrow_mut() = Some(charge);
        if let Some(waker) = &*servant.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Servant {
    async fn next(&self) -> Connection {
        poll_fn(|cx| {
            if let Some(charge) = self.charge.borrow_mut().take() {
                return Poll::Ready(charge);
            }
            self.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// The task: serves `charge`, and then what it is given while it waits.
async fn serve_each(worker: Rc<Worker>, mut charge: Connection) {
    let this = Rc::new(Servant::default());
    loop {
        connection::serve_one(charge).await;
        {
            let mut waiting = worker.servants.waiting.borrow_mut();
            if waiting.len() >= WAITING_MAX {
                return;
            }
            waiting.push(Rc::clone(&this));
        }
        charge = this.next().await;
    }
}
