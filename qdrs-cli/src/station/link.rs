//! The two bounded channels between a slot's thread and the async side, and the thread itself.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::sync::mpsc::{Receiver, channel};

use super::slot::{Open, Order, Report, Slot};

/// Reports that may wait for the async side; a slot that is ahead of it by more waits itself.
const REPORTS_MAX: usize = 8;
/// Orders that may wait for the slot: the one it shall do, and the one to stop.
const ORDERS_MAX: usize = 2;

/// How long a thread may take to end.
const END_MAX: Duration = Duration::from_millis(300);

/// The async end of a slot.
pub(super) struct Link {
    /// From 1.
    pub(super) slot: usize,
    reports: Receiver<Report>,
    orders: SyncSender<Order>,
    cancel: Arc<AtomicBool>,
}

impl Link {
    /// Starts the thread of a slot.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub(super) fn start(slot: usize, open: Open) -> io::Result<Self> {
        let (tell, reports) = channel(REPORTS_MAX);
        let (orders, receiver) = sync_channel(ORDERS_MAX);
        let cancel = Arc::new(AtomicBool::new(false));
        let tell = Box::new(move |report| tell.blocking_send(report).is_ok());
        let thread = Slot { open, cancel: Arc::clone(&cancel), orders: receiver, tell };
        thread::Builder::new().name(format!("slot {slot}")).spawn(move || thread.run())?;
        Ok(Self { slot, reports, orders, cancel })
    }

    /// The next report; none when the thread has ended.
    pub(super) async fn report(&mut self) -> Option<Report> {
        self.reports.recv().await
    }

    /// Orders something. A slot that has ended hears nothing; the next report says so.
    pub(super) fn order(&self, order: Order) {
        // Never full: an order is given only to a slot that waits for it, and one place is left to stop.
        let _ = self.orders.try_send(order);
    }

    /// Tells the driver that the operator wants to stop: what it waits for ends soon. Or that it has time again.
    pub(super) fn hurry(&self, hurries: bool) {
        self.cancel.store(hurries, Ordering::Relaxed);
    }

    /// Ends the thread, which must not be writing, and waits for its end. One that waits for the system all the same, for a
    /// name server or a serial server, is left behind.
    pub(super) async fn stop(mut self) {
        self.hurry(true);
        self.order(Order::Stop);
        let ends = async { while self.reports.recv().await.is_some() {} };
        let _ = tokio::time::timeout(END_MAX, ends).await;
    }
}
