//! Lanes: one thread per core, each with tensor operations of its own.
//!
//! On a CPU it is much faster to give each core its own views than to let all cores share each
//! operation. A lane is a rayon pool of one thread, in which the tensor operations find nobody to
//! share with. On other devices there is a single lane, the calling thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Workers that share jobs.
#[derive(Clone)]
pub struct Lanes {
    pools: Arc<Vec<ThreadPool>>,
    rows_per_job: usize,
}

impl Lanes {
    /// Rows of a matrix product that keep one core busy while its operands stay in cache.
    const ROWS_PER_JOB: usize = 800;

    /// `threads` lanes, for the CPU.
    ///
    /// # Panics
    ///
    /// If the system cannot start a thread.
    pub fn new(threads: usize) -> Self {
        let pool = |_| {
            ThreadPoolBuilder::new().num_threads(1).build().expect("the system can start a thread")
        };
        Self {
            pools: Arc::new((0..threads.max(1)).map(pool).collect()),
            rows_per_job: Self::ROWS_PER_JOB,
        }
    }

    /// One lane a core, for the CPU.
    pub fn per_core() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// The calling thread alone, with everything in one job: for devices that are parallel inside.
    pub fn inline() -> Self {
        Self { pools: Arc::new(Vec::new()), rows_per_job: usize::MAX }
    }

    /// Whether everything goes to the device at once.
    pub fn is_inline(&self) -> bool {
        self.pools.is_empty()
    }

    /// How many items of `rows` rows each make a good job.
    ///
    /// Depends on the shape of the work alone, never on the number of lanes: how work is divided
    /// decides the last bits of the results.
    pub fn items_per_job(&self, rows: usize) -> usize {
        (self.rows_per_job / rows.max(1)).max(1)
    }

    /// Runs `work` on all `jobs` and returns the results in the order of the jobs.
    ///
    /// # Panics
    ///
    /// If the work panics.
    pub fn map<T: Send, R: Send>(&self, jobs: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
        if self.is_inline() {
            return jobs.into_iter().map(work).collect();
        }
        let next = AtomicUsize::new(0);
        let slot = |job| (Mutex::new(Some(job)), Mutex::new(None));
        let slots: Vec<Slot<T, R>> = jobs.into_iter().map(slot).collect();
        let drain = || {
            while let Some((job, result)) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
                let job = job.lock().expect("no lane panicked").take();
                let output = work(job.expect("each job is taken once"));
                *result.lock().expect("no lane panicked") = Some(output);
            }
        };
        std::thread::scope(|scope| {
            for pool in self.pools.iter().take(slots.len()) {
                scope.spawn(|| pool.install(drain));
            }
        });
        let result = |slot: Mutex<Option<R>>| slot.into_inner().ok().flatten();
        slots.into_iter().map(|(_, slot)| result(slot).expect("every job was run")).collect()
    }
}

/// A job until it is taken, and its result once it is there.
type Slot<T, R> = (Mutex<Option<T>>, Mutex<Option<R>>);

impl std::fmt::Debug for Lanes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Lanes").field("count", &self.pools.len().max(1)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_jobs() {
        for lanes in [Lanes::new(3), Lanes::new(1), Lanes::inline()] {
            let squares = lanes.map((0..20u64).collect(), |job| job * job);
            assert_eq!(squares, (0..20).map(|job| job * job).collect::<Vec<u64>>());
        }
    }

    #[test]
    fn operations_inside_a_lane_have_one_thread() {
        let threads = Lanes::new(2).map(vec![(), ()], |()| rayon::current_num_threads());
        assert_eq!(threads, [1, 1]);
    }
}
