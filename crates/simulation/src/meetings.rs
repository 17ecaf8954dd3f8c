//! What has to meet for a fault to show. A simulator in which these never happen is blind, and says nothing of it; so
//! they are counted.

macro_rules! meetings {
    ($($name:ident $text:literal,)*) => {
        /// Things that have to meet for a fault to show.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Meeting { $(#[doc = $text] $name,)* }

        impl Meeting {
            /// All meetings there are.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns what meets, in words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

meetings! {
    AssignedAgainDuringWrite "assigned again to the same member during a write",
    CommitAfterLoss "a commit tried after its partition was lost",
    ChunkOfOldAssignment "a chunk of an old assignment after the new one began",
    ChunkBeforeAssigned "a chunk before the word of its assignment",
    ChunkAfterRevoked "a chunk after the word of its revocation",
    TruncationAboveWaiting "a truncation above a waiting stamp",
    TruncationOfWaiting "a truncation that takes the record of a waiting stamp",
    RecreationWithWaiting "a topic recreated while stamps wait",
    DividedAfterSlow "a write divided between its batches after a slow one",
    SlowSingleBatch "a slow write of a single batch",
    RefusedBatchProbed "a refused batch probed",
    CulpritBuried "a culprit buried",
    ProbeInterrupted "a search for a culprit ended by an outage or a revocation",
    AnswerLostAfterCommit "an answer lost after the commit",
    ZombieAfterRetry "a zombie statement that commits after its retry was sent",
    RaceForStamp "two members that write one stamp at a time",
    RaceLost "a stamp lost to another member or to the table's net",
    ReleaseTooLate "a release too late",
    ReleaseInTime "a release in time after a write",
    CommitRefused "a commit refused by the group",
    CommitNotKnown "a commit whose answer is lost",
    StaleKnown "what is known of commits older than what was told",
    CrashBeforeOffset "a crash between a write's commit and the offset's",
    PauseDrops "a pause that drops what was fetched ahead",
    RehomedDuringWrite "a stamp rehomed during its write",
    Rehomed "a waiting stamp rehomed",
    RevokedDuringWrite "a revocation that waits for a write",
    LostDuringWrite "partitions lost during a write",
    RevokedDuringBackoff "a revocation during backoff",
    RevokedDuringScreening "a revocation during a screening",
    StopDuringWrite "a stop during a write",
    StopDuringBackoff "a stop during backoff",
    DueDuringBacklog "a due stamp in a settled partition while another's backlog is read",
    DistantStored "a distant stamp stored",
    DistantReplay "a replay that turns out to be a distant stamp",
    RepeatAcrossPartitions "a repeat in another partition while the first waits",
    ProcessedAtScreening "a stamp that is found processed when it is read",
    LookTogether "two nets that look at once",
    TakeTogether "two nets that take one row at a time",
    NotOurTurn "a take while another listener takes",
    TakeDivided "a take that is refused and divided",
    TakeSlow "a take of several rows that takes too long",
    TakeLocked "a take that leaves a row which somebody has locked",
    TakeAnswerLost "a take whose answer is lost after it took rows",
    ZombieTake "a take that nobody waits for, and that takes rows after all",
    CulpritPutOff "a row put off because it is refused",
    PutOffTogether "a row put off by two nets",
    EndlessPutOff "a row put off because its due time is none",
    TakenBeforeEvent "a row taken whose event comes later",
    TakenWhileHeld "a row taken while a heart holds its stamp",
    TakenDuringWrite "a row taken while a heart's write of it is under way",
    TakenBesideOld "a row taken while a listener without a net runs",
    DistantTaken "a row taken that screening has stored",
    StopDuringTake "a stop during a take",
}

/// How often each meeting happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meetings([u64; Meeting::ALL.len()]);

impl Default for Meetings {
    fn default() -> Self {
        Self([0; Meeting::ALL.len()])
    }
}

impl Meetings {
    pub(crate) fn count(&mut self, meeting: Meeting) {
        self.0[meeting as usize] += 1;
    }

    /// Returns how often a meeting happened.
    pub fn of(&self, meeting: Meeting) -> u64 {
        self.0[meeting as usize]
    }

    /// Adds the meetings of another history.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }

    /// Returns the meetings that never happened.
    pub fn missed(&self) -> Vec<Meeting> {
        Meeting::ALL.iter().copied().filter(|meeting| self.of(*meeting) == 0).collect()
    }
}
