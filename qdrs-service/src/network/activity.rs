//! What one connection is doing: its requests in flight, and whether one of them has ever verified.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::sync::watch;

/// How long a connection may be without a request.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Until one of its requests has verified; also the time for the first request to arrive.
    pub unverified: Duration,
    /// From then on.
    pub verified: Duration,
}

/// Whether a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closing {
    /// It is not.
    Open,
    /// Once its requests have ended.
    Finish,
    /// At once.
    Now,
}

/// What one connection is doing. Shared by the connection and its requests.
#[derive(Debug)]
pub struct Activity {
    in_flight: watch::Sender<usize>,
    is_verified: AtomicBool,
    closing: watch::Sender<Closing>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { in_flight: watch::Sender::new(0), is_verified: AtomicBool::new(false), closing: watch::Sender::new(Closing::Open) }
    }
}

/// A request in flight, until it is dropped.
pub struct InFlight<'a>(&'a Activity);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|count| *count -= 1);
    }
}

impl Activity {
    /// One more request is in flight.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.send_modify(|count| *count += 1);
        InFlight(self)
    }

    /// The signature of one of its requests verifies.
    pub fn verified(&self) {
        self.is_verified.store(true, Ordering::Relaxed);
    }

    /// True once one of its requests has verified.
    pub fn is_verified(&self) -> bool {
        self.is_verified.load(Ordering::Relaxed)
    }

    /// Asks for the connection to be closed.
    pub fn close(&self, how: Closing) {
        self.closing.send_if_modified(|closing| {
            let is_more = how > *closing;
            *closing = how.max(*closing);
            is_more
        });
    }

    /// How the connection is to end.
    pub fn closing(&self) -> Closing {
        *self.closing.borrow()
    }

    /// Waits until the connection is to be closed in this way at least.
    pub async fn asked_to_close(&self, how: Closing) {
        // The sender is this very object, so it is there.
        let _ = self.closing.subscribe().wait_for(|closing| *closing >= how).await;
    }

    /// Waits until the connection has been without a request for too long.
    pub async fn idle(&self, idle: Idle) {
        let mut in_flight = self.in_flight.subscribe();
        loop {
            if *in_flight.borrow_and_update() == 0 {
                let limit = if self.is_verified() { idle.verified } else { idle.unverified };
                // A request that comes and goes between two looks is a change as well.
                match tokio::time::timeout(limit, in_flight.changed()).await {
                    Err(_) => return,
                    Ok(_) => continue,
                }
            }
            let _ = in_flight.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, poll_fn},
        pin::{Pin, pin},
        task::Poll,
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(1_000_000);

    async fn is_pending(mut future: Pin<&mut impl Future>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn a_connection_is_idle_only_without_requests() {
        let activity = Activity::default();
        let request = activity.begin();
        let mut idle = pin!(activity.idle(Idle { unverified: SHORT, verified: LONG }));
        let mut second = pin!(async {
            // Longer than the limit: the request in flight keeps it.
            tokio::time::sleep(SHORT * 20).await;
        });
        tokio::select! {
            () = &mut idle => panic!("a request is in flight"),
            () = &mut second => {}
        }
        drop(request);
        idle.await;
    }

    #[tokio::test]
    async fn who_has_shown_an_access_code_may_be_idle_for_longer() {
        let activity = Activity::default();
        activity.idle(Idle { unverified: SHORT, verified: LONG }).await;
        activity.verified();
        let mut idle = pin!(activity.idle(Idle { unverified: SHORT, verified: LONG }));
        let mut unverified = pin!(tokio::time::sleep(SHORT * 20));
        tokio::select! {
            () = &mut idle => panic!("it may be idle for longer"),
            () = &mut unverified => {}
        }
        activity.idle(Idle { unverified: LONG, verified: SHORT }).await;
    }

    #[tokio::test]
    async fn a_request_between_two_looks_starts_the_time_anew() {
        let activity = Activity::default();
        let mut idle = pin!(activity.idle(Idle { unverified: LONG, verified: SHORT }));
        assert!(is_pending(idle.as_mut()).await);
        activity.verified();
        drop(activity.begin());
        idle.await;
    }

    #[tokio::test]
    async fn what_is_to_end_at_once_does_not_become_patient_again() {
        let activity = Activity::default();
        let mut now = pin!(activity.asked_to_close(Closing::Now));
        activity.close(Closing::Finish);
        assert!(is_pending(now.as_mut()).await);
        activity.asked_to_close(Closing::Finish).await;
        activity.close(Closing::Now);
        activity.close(Closing::Finish);
        assert_eq!(activity.closing(), Closing::Now);
        now.await;
    }
}
