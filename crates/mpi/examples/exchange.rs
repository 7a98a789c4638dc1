//! What an exchange costs on this network: `mpirun -n 4 target/release/examples/exchange [BYTES]`. Each process sends so many
//! bytes (default: what one of 64 gets after a step of a gigapixel), half of them to each neighbour in a ring.

#[path = "../src/world.rs"]
mod world;

use std::time::Instant;

use clarifier_upscale::Link;
use world::World;

/// What `split.rs` counts for 32 768 × 32 768 pixels, the default tiles and 64 processes.
const USUAL: usize = 17 << 20;
const TIMES: u32 = 20;

fn main() {
    let universe = mpi::initialize().expect("MPI starts");
    let world = World::new(universe.world());
    let bytes = std::env::args().nth(1).map_or(USUAL, |text| text.parse().expect("a number of bytes"));
    let (rank, size) = (world.rank(), world.size());
    let mut ring = vec![(rank + 1) % size, (rank + size - 1) % size];
    ring.sort_unstable();
    ring.dedup();
    ring.retain(|other| *other != rank);
    let part = bytes / ring.len().max(1);
    let outgoing: Vec<_> = ring.iter().map(|to| (*to, vec![rank as u8; part])).collect();
    let incoming: Vec<_> = ring.iter().map(|from| (*from, part)).collect();
    let begun = Instant::now();
    for _ in 0..TIMES {
        let received = world.exchange(&outgoing, &incoming).expect("the connection holds");
        assert!(received.iter().zip(&ring).all(|(bytes, from)| bytes.iter().all(|b| *b == *from as u8)));
    }
    let exchange = begun.elapsed() / TIMES;
    let begun = Instant::now();
    for _ in 0..TIMES {
        world.all_gather(vec![0; 8]).expect("the connection holds");
    }
    let round = begun.elapsed() / TIMES;
    if rank == 0 {
        println!(
            "{size} processes: {:.6} s for an exchange of {bytes} bytes each way",
            exchange.as_secs_f64()
        );
        println!("{size} processes: {:.6} s for a round's eight bytes", round.as_secs_f64());
    }
    println!("{}", world.spent());
}
