//! A team's connection through MPI.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use clarifier_upscale::Link;
use mpi::collective::{CommunicatorCollectives, Root};
use mpi::datatype::PartitionMut;
use mpi::point_to_point::{Destination, Source};
use mpi::topology::{Communicator, SimpleCommunicator};

/// Bytes of a message: MPI counts in 31 bits.
const AT_ONCE: usize = 1 << 30;

/// All processes that `mpirun` started.
pub struct World {
    world: SimpleCommunicator,
    /// The tiles' noise at their borders.
    exchanges: Spent,
    /// All other calls: who is how far, rows of pictures.
    others: Spent,
}

/// What calls have cost.
#[derive(Default)]
struct Spent {
    calls: Cell<u64>,
    bytes: Cell<u64>,
    /// Until the slowest process was there too.
    waiting: Cell<Duration>,
    moving: Cell<Duration>,
}

impl Spent {
    /// Of a call that gave or got so many bytes.
    fn add(&self, bytes: usize, [called, met, done]: [Instant; 3]) {
        self.calls.set(self.calls.get() + 1);
        self.bytes.set(self.bytes.get() + bytes as u64);
        self.waiting.set(self.waiting.get() + (met - called));
        self.moving.set(self.moving.get() + (done - met));
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, bytes) = (self.calls.get(), self.bytes.get());
        let (waiting, moving) = (self.waiting.get().as_secs_f64(), self.moving.get().as_secs_f64());
        write!(f, "{calls} calls, {bytes} bytes in {moving:.6} s after {waiting:.6} s of waiting")
    }
}

impl World {
    /// Those of `world`.
    pub fn new(world: SimpleCommunicator) -> Self {
        Self { world, exchanges: Spent::default(), others: Spent::default() }
    }

    /// What the calls have cost this process so far, in words.
    pub fn spent(&self) -> String {
        format!("rank {}: borders: {}; all else: {}", self.rank(), self.exchanges, self.others)
    }

    /// When all are here: since when this process was, and when that is.
    fn meet(&self) -> [Instant; 2] {
        let called = Instant::now();
        self.world.barrier();
        [called, Instant::now()]
    }

    fn broadcast_from(&self, root: usize, bytes: &mut [u8]) {
        let root = self.world.process_at_rank(root as i32);
        bytes.chunks_mut(AT_ONCE).for_each(|part| root.broadcast_into(part));
    }
}

impl Link for World {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn exchange(
        &self,
        outgoing: &[(usize, Vec<u8>)],
        incoming: &[(usize, usize)],
    ) -> io::Result<Vec<Vec<u8>>> {
        let [called, met] = self.meet();
        let mut received: Vec<Vec<u8>> = incoming.iter().map(|(_, length)| vec![0; *length]).collect();
        let process = |rank: usize| self.world.process_at_rank(rank as i32);
        let count = outgoing.len() + incoming.len();
        mpi::request::multiple_scope(count, |scope, requests| {
            for ((from, _), into) in incoming.iter().zip(&mut received) {
                for part in into.chunks_mut(AT_ONCE) {
                    requests.add(process(*from).immediate_receive_into(scope, part));
                }
            }
            for (to, bytes) in outgoing {
                for part in bytes.chunks(AT_ONCE) {
                    requests.add(process(*to).immediate_send(scope, part));
                }
            }
            requests.wait_all(&mut Vec::new());
        });
        let sent: usize = outgoing.iter().map(|(_, bytes)| bytes.len()).sum();
        let got: usize = received.iter().map(Vec::len).sum();
        self.exchanges.add(sent + got, [called, met, Instant::now()]);
        Ok(received)
    }

    fn all_gather(&self, bytes: Vec<u8>) -> io::Result<Vec<Vec<u8>>> {
        let [called, met] = self.meet();
        let mut lengths = vec![0u64; self.size()];
        self.world.all_gather_into(&(bytes.len() as u64), &mut lengths[..]);
        let total: u64 = lengths.iter().sum();
        let mut all: Vec<Vec<u8>>;
        if total <= AT_ONCE as u64 {
            let mut flat = vec![0; total as usize];
            let counts: Vec<i32> = lengths.iter().map(|length| *length as i32).collect();
            let ends = counts.iter().scan(0, |end, count| {
                *end += count;
                Some(*end)
            });
            let starts: Vec<i32> = ends.zip(&counts).map(|(end, count)| end - count).collect();
            let mut parts = PartitionMut::new(&mut flat[..], &counts[..], &starts[..]);
            self.world.all_gather_varcount_into(&bytes[..], &mut parts);
            let part = |(start, count): (&i32, &i32)| flat[*start as usize..][..*count as usize].to_vec();
            all = starts.iter().zip(&counts).map(part).collect();
        } else {
            all = lengths.iter().map(|length| vec![0; *length as usize]).collect();
            all[self.rank()] = bytes;
            all.iter_mut().enumerate().for_each(|(rank, part)| self.broadcast_from(rank, part));
        }
        self.others.add(total as usize, [called, met, Instant::now()]);
        Ok(all)
    }

    fn broadcast(&self, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let [called, met] = self.meet();
        let mut length = bytes.len() as u64;
        self.world.process_at_rank(0).broadcast_into(&mut length);
        bytes.resize(length as usize, 0);
        self.broadcast_from(0, &mut bytes);
        self.others.add(bytes.len(), [called, met, Instant::now()]);
        Ok(bytes)
    }
}
