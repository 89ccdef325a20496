//! The batcher between submitters and a driver that a test plays.

use super::*;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tally_core::{Place, Replica};
use tally_driver::Mail;
use tally_journal::Owner;
use tally_store::{
    index::{self, DedupIndex, IndexProgress},
    staged::{StagedBook, StagedLimits},
};
use tally_topology::{in_force::CharterHandle, sample};
use tokio::task::JoinHandle;

/// A node of which the gate can be shut, and whose driver may refuse or fail.
struct Bench {
    dir: tempfile::TempDir,
    shut: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
    fails: Arc<AtomicBool>,
    /// So many batches are refused, and none behind them.
    refuses_first: Arc<AtomicUsize>,
    /// While it is locked, the driver answers nothing.
    disk: Arc<tokio::sync::Mutex<()>>,
    /// A batch closes so long after its first record, whoever waits.
    close_after: Duration,
    /// What the driver has sealed, in order.
    sealed: Arc<Mutex<Vec<RecordId>>>,
    /// How many batches came to the driver.
    batches: Arc<AtomicUsize>,
}

/// A batcher that runs.
struct Running {
    handle: BatcherHandle,
    carry: Option<CarryHandle>,
    book: StagedBook,
    stop: watch::Sender<bool>,
    batcher: JoinHandle<Result<(), JournalError>>,
    driver: JoinHandle<()>,
    /// What the index follows, which stays where it is.
    followed: (watch::Sender<Place>, watch::Sender<IndexProgress>),
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (shut, refuses, fails, refuses_first, disk, sealed, batches) = Default::default();
        let close_after = Duration::from_millis(BATCH_CLOSE_MS);
        Self { dir, shut, refuses, fails, refuses_first, disk, close_after, sealed, batches }
    }

    fn shut(self, shut: bool) -> Self {
        self.shut.store(shut, Ordering::Relaxed);
        self
    }

    fn run(&self, bytes: u64) -> Running {
        let own: LogId = "350102/e1".parse().unwrap();
        let opened = index::open(&self.dir.path().join("index"), |_| true);
        let charter = CharterHandle::new(Arc::new(sample::signed("")));
        let known = Arc::new(DedupIndex::new(opened.engine.clone(), charter, own, true));
        known.set_whole(true);
        let (durable_tell, durable) = watch::channel(Place(0));
        let (progress_tell, progress) = watch::channel(IndexProgress::at(Place(0)));
        let sources = DedupSources { index: known, engine: opened.engine.clone(), progress, durable };
        let owner = Owner { federation: "t.example".into(), division: 350_102 };
        let limits = StagedLimits::of_bytes(bytes);
        let staged = StagedStore::open(&self.dir.path().join("staged"), &owner, limits).unwrap();
        let replica = Replica::new(Arc::new(sample::keys("350102")), sample::signed(""), "test".into());
        let (_, view) = watch::channel(Arc::new(replica.view().clone()));
        let (mailbox, mail) = Mailbox::new(view);
        let driver = tokio::task::spawn_blocking(self.driver(mail));
        let (shut, sealed) = (self.shut.clone(), self.sealed.clone());
        let look = move || OwnLog {
            log: own,
            size: lock(&sealed).len() as u64,
            closed: shut.load(Ordering::Relaxed).then_some(NotSealed::Asking),
        };
        let (stop, stopping) = watch::channel(false);
        let book = staged.book().clone();
        let runtime = tokio::runtime::Handle::current();
        let BatcherParts { handle, carry, run } =
            batcher_of(Box::new(look), sources, staged, mailbox, stopping, runtime, self.close_after);
        let batcher = tokio::task::spawn_blocking(run);
        let followed = (durable_tell, progress_tell);
        Running { handle, carry: Some(carry), book, stop, batcher, driver, followed }
    }

    fn sealed(&self) -> Vec<RecordId> {
        lock(&self.sealed).clone()
    }

    /// Seals what comes; or refuses, or ends without an answer, as a driver does whose disk has failed.
    fn driver(&self, mut mail: mpsc::Receiver<Mail>) -> impl FnOnce() + Send + use<> {
        let (sealed, refuses, fails) = (self.sealed.clone(), self.refuses.clone(), self.fails.clone());
        let (disk, batches, first) = (self.disk.clone(), self.batches.clone(), self.refuses_first.clone());
        move || {
            while let Some(message) = mail.blocking_recv() {
                let Mail::Seal { records, reply, .. } = message else { return };
                batches.fetch_add(1, Ordering::Relaxed);
                let _written = disk.blocking_lock();
                if fails.load(Ordering::Relaxed) {
                    return;
                }
                let mut sealed = lock(&sealed);
                let start = sealed.len() as u64;
                let one_less = |left: usize| left.checked_sub(1);
                let is_first = first.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
                let result = match is_first || refuses.load(Ordering::Relaxed) {
                    true => Err(NotSealed::Frozen("two histories".into())),
                    false => {
                        sealed.extend(records.iter().map(Record::id));
                        Ok((start, sealed.len() as u64))
                    }
                };
                let _ = reply.send(result);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn checked(n: u64) -> CheckedRecord {
    let json = format!("{{\"business_key\":\"k{n}\",\"category\":\"penalty\",\"producer_uscc\":\"u\",\"n\":\"{n}\"}}");
    CheckedRecord::acknowledged(json.as_bytes()).unwrap()
}

fn ids(range: std::ops::Range<u64>) -> Vec<RecordId> {
    range.map(|n| checked(n).record.id()).collect()
}

impl Running {
    async fn hand_in(&self, range: std::ops::Range<u64>) -> Result<ChunkResult, ChunkError> {
        let chunk = RecordChunk::of(range.map(checked).collect(), DedupPolicy::default());
        self.handle.submit(chunk).await.unwrap().await.unwrap()
    }

    async fn worked_off(&self) {
        let worked_off = async {
            while self.book.counts().records > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), worked_off).await.unwrap();
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        drop((self.handle, self.carry));
        self.batcher.await.unwrap().unwrap();
        self.driver.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_staged_at_once_and_sealed_in_their_order_before_new_ones() {
    let bench = Bench::new().shut(true);
    let mut running = bench.run(1 << 30);
    running.carry = None;
    let first = running.hand_in(0..1_500).await.unwrap();
    assert_eq!((first.accepted(), first.staged(), first.range), (1_500, 1_500, None));
    assert_eq!(first.because, Some(NotSealed::Asking));
    let again = running.hand_in(1_499..1_501).await.unwrap();
    assert_eq!((again.accepted(), again.staged(), again.duplicates()), (1, 1, 1), "the same is staged once");
    assert_eq!(running.book.counts().records, 1_501);
    assert!(bench.sealed().is_empty());
    // Killed, and started with the gate still shut.
    running.stop().await;
    let mut running = bench.run(1 << 30);
    running.carry = None;
    assert_eq!(running.hand_in(5..6).await.unwrap().duplicates(), 1, "also after a start");
    let bench = bench.shut(false);
    let new = running.hand_in(2_000..2_001).await.unwrap();
    assert_eq!((new.staged(), new.range), (0, Some((1_501, 1_502))), "it waited for what was staged");
    assert_eq!(bench.sealed(), [ids(0..1_501), ids(2_000..2_001)].concat());
    let outcome = running.book.outcome(&first.staged).unwrap();
    assert_eq!((outcome.sealed, outcome.waits), (1_500, false));
    assert_eq!(outcome.place, Some(("350102/e1".parse().unwrap(), 0, 1_500)));
    assert_eq!(running.hand_in(0..1).await.unwrap().duplicates(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_carried_over_comes_before_what_is_staged() {
    let bench = Bench::new().shut(true);
    let mut running = bench.run(1 << 30);
    let carry = running.carry.take().unwrap();
    running.hand_in(100..200).await.unwrap();
    // The second of them is staged too, because it came again.
    let over = carry.submit(RecordChunk::of((0..50).chain(100..101).map(checked).collect(), DedupPolicy::default()));
    let over = over.await.unwrap();
    let bench = bench.shut(false);
    let done = over.await.unwrap().unwrap();
    assert_eq!((done.accepted(), done.duplicates(), done.range), (50, 1, Some((0, 50))));
    sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.sealed(), ids(0..50), "more may be carried over");
    drop(carry);
    running.worked_off().await;
    assert_eq!(bench.sealed(), [ids(0..50), ids(100..200)].concat());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_on_their_way_when_signing_ends_are_staged_and_not_refused() {
    let bench = Bench::new();
    let mut running = bench.run(1 << 30);
    running.carry = None;
    bench.refuses.store(true, Ordering::Relaxed);
    let result = running.hand_in(0..2_500).await.unwrap();
    assert_eq!((result.accepted(), result.staged(), result.range), (2_500, 2_500, None));
    assert!(matches!(result.because, Some(NotSealed::Frozen(_))), "{result:?}");
    let next = running.hand_in(2_500..2_600).await.unwrap();
    assert_eq!(next.staged(), 100);
    bench.refuses.store(false, Ordering::Relaxed);
    running.worked_off().await;
    assert_eq!(bench.sealed(), ids(0..2_600));
    running.stop().await;
}

/// F1: the second may amend the first. It waits open while the first is on its way, and that one is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_behind_one_that_was_refused_is_not_sealed_before_it() {
    let bench = Bench::new();
    bench.refuses_first.store(1, Ordering::Relaxed);
    let mut running = bench.run(1 << 30);
    running.carry = None;
    let busy = bench.disk.lock().await;
    let submit = |n| running.handle.submit(RecordChunk::of(vec![checked(n)], DedupPolicy::default()));
    let first = submit(0).await.unwrap();
    while bench.batches.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let answers = [first, submit(1).await.unwrap()];
    while running.handle.chunks.capacity() < CHUNKS {
        tokio::task::yield_now().await;
    }
    drop(busy);
    for answer in answers {
        let result = answer.await.unwrap().unwrap();
        assert_eq!((result.accepted(), result.staged()), (1, 1), "{result:?}");
        assert!(matches!(result.because, Some(NotSealed::Frozen(_))), "{result:?}");
    }
    running.worked_off().await;
    assert_eq!(bench.sealed(), ids(0..2));
    running.stop().await;
}

/// What was judged with rows in sight that were then neither signed nor staged is not taken without them.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_that_rests_on_rows_for_which_there_was_no_room() {
    let bench = Bench::new();
    bench.refuses_first.store(1, Ordering::Relaxed);
    let mut running = bench.run(20_000);
    running.carry = None;
    let busy = bench.disk.lock().await;
    let submit = |range: std::ops::Range<u64>| {
        running.handle.submit(RecordChunk::of(range.map(checked).collect(), DedupPolicy::default()))
    };
    let first = submit(0..900).await.unwrap();
    while bench.batches.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let answers = [first, submit(900..901).await.unwrap()];
    while running.handle.chunks.capacity() < CHUNKS {
        tokio::task::yield_now().await;
    }
    drop(busy);
    for answer in answers {
        let refused = answer.await.unwrap();
        assert!(matches!(refused, Err(ChunkError::StagedFull(NotSealed::Frozen(_)))), "{refused:?}");
    }
    assert_eq!((bench.sealed(), running.book.counts().records), (Vec::new(), 0));
    // Handed in again, they are new.
    let again = async {
        loop {
            if let Ok(result) = running.hand_in(0..901).await {
                return result;
            }
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    assert_eq!((again.accepted(), bench.sealed()), (901, ids(0..901)));
    running.stop().await;
}

/// What is told as lost is held by nobody: it is not a duplicate when it comes again.
#[tokio::test(flavor = "multi_thread")]
async fn staged_rows_that_are_lost_are_taken_when_they_are_handed_in_again() {
    let bench = Bench::new().shut(true);
    let mut running = bench.run(1 << 30);
    running.carry = None;
    let first = running.hand_in(0..10).await.unwrap();
    let second = running.hand_in(10..20).await.unwrap();
    let mut files = std::fs::read_dir(bench.dir.path().join("staged")).unwrap().map(|f| f.unwrap().path());
    let path = files.find(|p| p.extension().is_some_and(|e| e == "seg")).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(12).position(|w| w == br#""producer_us"#).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let bench = bench.shut(false);
    running.worked_off().await;
    assert_eq!(bench.sealed(), ids(10..20));
    assert_eq!(running.book.outcome(&first.staged).unwrap().lost, 10);
    assert_eq!(running.book.outcome(&second.staged).unwrap().sealed, 10);
    let again = running.hand_in(0..20).await.unwrap();
    assert_eq!((again.accepted(), again.duplicates(), again.range), (10, 10, Some((10, 20))));
    assert_eq!(bench.sealed(), [ids(10..20), ids(0..10)].concat());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_bound_rows_are_refused_by_name_and_nothing_of_them_stays() {
    let bench = Bench::new().shut(true);
    let mut running = bench.run(20_000);
    running.carry = None;
    assert_eq!(running.hand_in(0..100).await.unwrap().staged(), 100);
    let refused = running.hand_in(100..1_000).await.unwrap_err();
    assert!(matches!(refused, ChunkError::StagedFull(NotSealed::Asking)), "{refused:?}");
    assert!(refused.to_string().contains("staged_mib") && refused.to_string().contains("parent"), "{refused}");
    let bench = bench.shut(false);
    running.worked_off().await;
    assert_eq!(running.hand_in(100..1_000).await.unwrap().accepted(), 900);
    assert_eq!(bench.sealed(), ids(0..1_000));
    running.stop().await;
}

/// Records of the own log that were fetched are in the index before anything is called new.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_new_before_the_index_has_what_was_fetched() {
    let bench = Bench::new();
    let mut running = bench.run(1 << 30);
    running.carry = None;
    assert_eq!(running.hand_in(0..10).await.unwrap().range, Some((0, 10)));
    running.followed.0.send_replace(Place(100));
    assert_eq!(running.hand_in(10..11).await.unwrap().accepted(), 1, "it waits for nothing that it sealed itself");
    lock(&bench.sealed).extend(ids(500..510));
    running.followed.0.send_replace(Place(200));
    let mut waits = Box::pin(running.hand_in(11..12));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waits).await.is_err(), "the index is behind");
    running.followed.1.send_modify(|p| p.cursor = Place(200));
    assert_eq!(waits.await.unwrap().range, Some((21, 22)));
    running.stop().await;
}

/// F5: what is looked for by its id alone is told so. It is a duplicate, but nobody knows what would be said of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_looked_for_by_its_id_alone_is_told_so() {
    let bench = Bench::new().shut(true);
    let mut running = bench.run(1 << 30);
    running.carry = None;
    // The index is behind, and does not catch up while it is waited for.
    running.followed.0.send_replace(Place(100));
    let new = running.hand_in(0..1).await.unwrap();
    assert_eq!((new.staged(), new.by_id), (1, true));
    let again = running.hand_in(0..1).await.unwrap();
    assert_eq!((again.duplicates(), again.by_id), (1, true));
    running.followed.1.send_modify(|p| p.cursor = Place(100));
    let again = running.hand_in(0..2).await.unwrap();
    assert_eq!((again.duplicates(), again.staged(), again.by_id), (1, 1, false));
    running.stop().await;
}

/// Whoever waits for a disk that has failed is not told to wait for the parent.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_disk_is_told_as_a_failed_disk() {
    let bench = Bench::new();
    let mut running = bench.run(1 << 30);
    running.carry = None;
    bench.fails.store(true, Ordering::Relaxed);
    let why = running.hand_in(0..10).await.unwrap_err();
    assert!(why.to_string().contains("disk") && !why.to_string().contains("parent"), "{why}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_staged_while_nobody_knows_what_stood_in_a_hole_of_the_own_log() {
    let bench = Bench::new();
    let mut running = bench.run(1 << 30);
    running.carry = None;
    running.followed.1.send_modify(|p| p.own_missing = 3);
    let result = running.hand_in(0..10).await.unwrap();
    assert_eq!(result.staged(), 10);
    assert!(matches!(&result.because, Some(NotSealed::Damaged(why)) if why.contains("--repair")), "{result:?}");
    assert!(bench.sealed().is_empty());
    // It was repaired, and the index has it.
    running.followed.1.send_modify(|p| p.own_missing = 0);
    running.worked_off().await;
    assert_eq!(bench.sealed(), ids(0..10));
    running.stop().await;
}

/// A batch that is never closed by time alone.
fn without_time() -> Bench {
    Bench { close_after: Duration::from_secs(86_400), ..Bench::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_answer_waits_for_no_timer() {
    let bench = without_time();
    let mut running = bench.run(1 << 30);
    running.carry = None;
    // The first rows of a long submission wait for more; whoever is done takes them along.
    let of = |range: std::ops::Range<u64>| range.map(checked).collect::<Vec<_>>();
    let begun = RecordChunk::followed(of(0..3), DedupPolicy::default());
    let begun = running.handle.submit(begun).await.unwrap();
    assert_eq!(running.hand_in(3..4).await.unwrap().accepted(), 1);
    assert_eq!(begun.await.unwrap().unwrap().accepted(), 3);
    assert_eq!(bench.batches.load(Ordering::Relaxed), 1);
    // What is held is answered at once; what is on its way to the disk, with it.
    assert_eq!(running.hand_in(0..4).await.unwrap().duplicates(), 4);
    let begun = RecordChunk::followed(of(4..6), DedupPolicy::default());
    let begun = running.handle.submit(begun).await.unwrap();
    assert_eq!(running.hand_in(4..5).await.unwrap().duplicates(), 1);
    assert_eq!(begun.await.unwrap().unwrap().accepted(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_shares_the_next_flush() {
    let bench = without_time();
    let mut running = bench.run(1 << 30);
    running.carry = None;
    let busy = bench.disk.lock().await;
    let mut answers = Vec::new();
    for n in 0..100 {
        let chunk = RecordChunk::of(vec![checked(n)], DedupPolicy::default());
        answers.push(running.handle.submit(chunk).await.unwrap());
    }
    while running.handle.chunks.capacity() < CHUNKS {
        tokio::task::yield_now().await;
    }
    drop(busy);
    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap().accepted(), 1);
    }
    assert_eq!(bench.sealed(), ids(0..100));
    // The first, those that came while it was written, and at most one that was being taken just then.
    assert!(bench.batches.load(Ordering::Relaxed) <= 3, "{:?}", bench.batches);
    running.stop().await;
}
