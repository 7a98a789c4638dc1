//! A team of threads in place of processes.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};

use clarifier_upscale::{Link, Team};

/// One end of the connections of a team of threads. A thread that ends ends the others' waiting for it.
pub struct Thread {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<RefCell<Receiver<Vec<u8>>>>,
}

/// The ends for a team of `size`.
pub fn threads(size: usize) -> Vec<Thread> {
    let mut ends: Vec<_> = (0..size).map(|rank| Thread { rank, to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..size {
        for to in 0..size {
            let (sender, receiver) = channel();
            ends[from].to.push(sender);
            // In the order of senders, since each receiver is visited once for each.
            ends[to].from.push(RefCell::new(receiver));
        }
    }
    ends
}

/// What each of a team of `size` threads makes of its place in it, in the order of ranks.
pub fn in_threads<T: Send>(size: usize, work: impl Fn(Team) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads = threads(size).into_iter();
        let running: Vec<_> =
            threads.map(|thread| scope.spawn(move || work(Team::new(Rc::new(thread))))).collect();
        running.into_iter().map(|thread| thread.join().expect("a thread that does not panic")).collect()
    })
}

fn gone<E>(_: E) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Link for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn exchange(
        &self,
        outgoing: &[(usize, Vec<u8>)],
        incoming: &[(usize, usize)],
    ) -> io::Result<Vec<Vec<u8>>> {
        for (to, bytes) in outgoing {
            self.to[*to].send(bytes.clone()).map_err(gone)?;
        }
        let receive = |(from, length): &(usize, usize)| {
            let bytes = self.from[*from].borrow().recv().map_err(gone)?;
            assert_eq!(bytes.len(), *length, "as many bytes from {from} as expected by {}", self.rank);
            Ok(bytes)
        };
        incoming.iter().map(receive).collect()
    }

    fn all_gather(&self, bytes: Vec<u8>) -> io::Result<Vec<Vec<u8>>> {
        self.to.iter().try_for_each(|to| to.send(bytes.clone()).map_err(gone))?;
        self.from.iter().map(|from| from.borrow().recv().map_err(gone)).collect()
    }

    fn broadcast(&self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        if self.rank == 0 {
            self.to[1..].iter().try_for_each(|to| to.send(bytes.clone()).map_err(gone))?;
            return Ok(bytes);
        }
        self.from[0].borrow().recv().map_err(gone)
    }
}
