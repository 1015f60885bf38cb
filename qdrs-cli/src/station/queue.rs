//! Which serial comes next: the batch's order, what was begun before, and what is tried again.
//!
//! Knows no service and no device. A serial is always in exactly one place: waiting, being registered ahead, ready (its
//! credential is in the journal, no device yet), in a slot, or settled.

use qdrs_core::hardware_id::HardwareId;
use std::collections::VecDeque;

/// How often a serial is tried in one run before it fails for a fault of its devices.
pub(super) const ATTEMPTS_MAX: u8 = 3;

/// A serial that is not settled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    /// As the batch has it; this text is sent to the service.
    pub(super) serial: String,
    /// How often devices failed with it in this run.
    pub(super) attempts: u8,
    /// Has its credential been on the way to a device, so that only a look at the board tells what may follow?
    pub(super) begun: bool,
    /// The board that may hold its credential, if it said what it is.
    pub(super) board: Option<HardwareId>,
}

impl Work {
    /// A serial that nobody has begun.
    pub(super) fn new(serial: impl Into<String>) -> Self {
        Self { serial: serial.into(), attempts: 0, begun: false, board: None }
    }
}

/// What a slot gets that asks for a serial.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Take<R> {
    /// This one; with its credential when it was registered ahead.
    Serial(Work, Option<R>),
    /// None now, but one that others work on may come back.
    NotNow,
    /// All serials are settled.
    AllSettled,
}

/// The serials of a run. `R` is a credential that was registered ahead.
#[derive(Debug)]
pub(super) struct Queue<R> {
    waiting: VecDeque<Work>,
    ready: VecDeque<(Work, R)>,
    /// Being registered ahead.
    registering: usize,
    /// In slots.
    held: usize,
    ahead_max: usize,
}

impl<R> Queue<R> {
    /// A queue in the order given, for so many slots; as many serials at most are registered before a device is there.
    pub(super) fn new(works: impl IntoIterator<Item = Work>, slots: usize) -> Self {
        Self { waiting: works.into_iter().collect(), ready: VecDeque::new(), registering: 0, held: 0, ahead_max: slots }
    }

    /// The serial for a device: first the one that this very board may hold, then what was registered ahead, then the
    /// next one; only if there is no other, one that may be on another board.
    ///
    /// With one slot devices get serials in the batch's order, as their labels lie: the slot waits for the one that is
    /// just being registered. Several slots have no order among them, and none waits for another's.
    pub(super) fn take(&mut self, board: Option<&HardwareId>) -> Take<R> {
        let own = board.and_then(|board| self.waiting.iter().position(|work| work.board.as_ref() == Some(board)));
        if own.is_none()
            && let Some((work, ready)) = self.ready.pop_front()
        {
            self.held += 1;
            return Take::Serial(work, Some(ready));
        }
        if own.is_none() && self.registering > 0 && self.ahead_max == 1 {
            return Take::NotNow;
        }
        let at = own.or_else(|| self.waiting.iter().position(|work| !work.begun)).unwrap_or(0);
        match self.waiting.remove(at) {
            Some(work) => {
                self.held += 1;
                Take::Serial(work, None)
            }
            None if self.held + self.registering > 0 => Take::NotNow,
            None => Take::AllSettled,
        }
    }

    /// A serial to register ahead, if one may be.
    pub(super) fn take_ahead(&mut self) -> Option<Work> {
        if self.ready.len() + self.registering >= self.ahead_max {
            return None;
        }
        let at = self.waiting.iter().position(|work| !work.begun)?;
        let work = self.waiting.remove(at)?;
        self.registering += 1;
        Some(work)
    }

    /// A serial that was taken ahead has its credential.
    pub(super) fn ready(&mut self, work: Work, ready: R) {
        self.registering -= 1;
        self.ready.push_back((work, ready));
    }

    /// A serial that was taken ahead is settled, or comes back.
    pub(super) fn ahead_ended(&mut self, back: Option<Work>) {
        self.registering -= 1;
        if let Some(work) = back {
            self.waiting.push_front(work);
        }
    }

    /// Somebody holds a serial that never was in the queue.
    pub(super) fn hold(&mut self) {
        self.held += 1;
    }

    /// A slot is done with its serial: it is settled.
    pub(super) fn settled(&mut self) {
        self.held -= 1;
    }

    /// A slot gives its serial back, to be tried at once by the next device.
    pub(super) fn back_first(&mut self, work: Work) {
        self.held -= 1;
        self.waiting.push_front(work);
    }

    /// A slot gives its serial back, to be tried after all others.
    pub(super) fn back_last(&mut self, work: Work) {
        self.held -= 1;
        self.waiting.push_back(work);
    }

    /// Is every serial settled?
    pub(super) fn all_settled(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_empty() && self.registering + self.held == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(serials: &[&str], slots: usize) -> Queue<u32> {
        Queue::new(serials.iter().map(|serial| Work::new(*serial)), slots)
    }

    fn serial(take: Take<u32>) -> (String, Option<u32>) {
        match take {
            Take::Serial(work, ready) => (work.serial, ready),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_slot_keeps_the_batchs_order() {
        let mut queue = queue(&["1", "2", "3"], 1);
        let ahead = queue.take_ahead().expect("one may be registered ahead");
        assert_eq!(queue.take_ahead(), None, "only one ahead");
        assert_eq!(queue.take(None), Take::NotNow, "the slot waits for what is being registered");
        queue.ready(ahead, 7);
        assert_eq!(serial(queue.take(None)), ("1".into(), Some(7)));
        let ahead = queue.take_ahead().expect("the next one");
        queue.settled();
        queue.ahead_ended(Some(ahead));
        assert_eq!(serial(queue.take(None)), ("2".into(), None), "what could not be registered ahead keeps its place");
        queue.settled();
        assert_eq!(serial(queue.take(None)), ("3".into(), None));
        assert_eq!(queue.take(None), Take::NotNow);
        assert!(!queue.all_settled());
        queue.settled();
        assert!(queue.all_settled());
        assert_eq!(queue.take(None), Take::AllSettled);
    }

    #[test]
    fn several_slots_never_wait_for_each_other() {
        let mut queue = queue(&["1", "2", "3"], 2);
        let ahead = queue.take_ahead().expect("one may be registered ahead");
        assert_eq!(serial(queue.take(None)), ("2".into(), None));
        queue.ready(ahead, 7);
        assert_eq!(serial(queue.take(None)), ("1".into(), Some(7)), "what was registered ahead is used first");
        assert_eq!(serial(queue.take(None)), ("3".into(), None));
    }

    #[test]
    fn a_board_gets_the_serial_that_it_may_hold_and_others_get_it_last() {
        let begun = |serial: &str, board: &str| Work { begun: true, board: HardwareId::from_record(board), ..Work::new(serial) };
        let mut queue: Queue<u32> = Queue::new([begun("1", "A"), begun("2", "B"), Work::new("3")], 4);
        assert_eq!(serial(queue.take(HardwareId::from_record("B").as_ref())).0, "2");
        assert_eq!(serial(queue.take(HardwareId::from_record("C").as_ref())).0, "3");
        assert_eq!(serial(queue.take(HardwareId::from_record("C").as_ref())).0, "1");
    }

    #[test]
    fn what_was_begun_is_never_registered_ahead() {
        let mut queue: Queue<u32> = Queue::new([Work { begun: true, ..Work::new("1") }], 4);
        assert_eq!(queue.take_ahead(), None);
    }
}
