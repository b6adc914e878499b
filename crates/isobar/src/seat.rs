//! Where the proxy is while others may ask it something: empty before its start and after its end.

use std::sync::{PoisonError, RwLock};

use isobar_proxy::Proxy;

/// The place of the running proxy.
#[derive(Default)]
pub(crate) struct Seat(RwLock<Option<Proxy>>);

impl Seat {
    pub(crate) fn put(&self, proxy: Proxy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(proxy);
    }

    pub(crate) fn take(&self) -> Option<Proxy> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks the proxy something; `None` where there is none.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&Proxy) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(ask)
    }
}
