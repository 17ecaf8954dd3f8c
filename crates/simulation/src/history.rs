//! A history: what is chosen in a world, one choice after the other. It is data, so that it can be written down,
//! shortened and played again.

use std::fmt;
use std::str::FromStr;

/// The form of the files. A file of another version is refused, since its choices would mean something else.
const VERSION: &str = "simulation-2";

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident $word:literal ($($field:ident),*);)*) => {
        /// One thing that happens. A choice that can't happen where it stands is passed over.
        #[allow(missing_docs, reason = "the variants name their fields")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Choice { $($(#[$doc])* $name { $($field: i64),* },)* }

        impl Choice {
            /// Returns the word that begins the choice's line.
            pub fn word(&self) -> &'static str {
                match self { $(Self::$name { .. } => $word,)* }
            }
        }

        impl fmt::Display for Choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())?;
                match self {
                    $(Self::$name { $($field),* } => { $(write!(f, " {}={}", stringify!($field), $field)?;)* })*
                }
                Ok(())
            }
        }

        impl FromStr for Choice {
            type Err = String;

            fn from_str(line: &str) -> Result<Self, String> {
                let mut words = line.split_whitespace();
                let choice = match words.next().unwrap_or_default() {
                    $($word => Self::$name { $($field: field(words.next(), stringify!($field))?),* },)*
                    other => return Err(format!("{other:?} is no choice")),
                };
                words.next().map_or(Ok(choice), |word| Err(format!("{word:?} is one word too many")))
            }
        }
    };
}

choices! {
    /// A producer appends the event of a stamp; its due time is fixed when its id appears first.
    Append "append" (partition, id, due_in_ms);
    /// A producer appends what can't be understood.
    Garbage "garbage" (partition);
    /// Somebody replays a dead letter that is a stamp by now.
    Replay "replay" (partition, id, due_in_ms);
    /// An offset is used up without a record, as by the mark of a transaction.
    Gap "gap" (partition);
    /// Retention takes records from the head.
    Retain "retain" (partition, records);
    /// An unclean election cuts records from the tail.
    Truncate "truncate" (partition, records);
    /// The topic is deleted and created again.
    Recreate "recreate" (partition);
    /// The database will refuse the values of this stamp.
    Refuse "refuse" (id);
    /// The API stores a row of this stamp, whose event may come before, later or never; the due time of an id is fixed
    /// when the id appears first.
    Row "row" (id, due_in_ms);
    /// The API stores a row whose due time is infinity. Its event can't be read by anybody.
    Endless "endless" (id);
    /// The assignor wants a partition to be a member's.
    Move "move" (partition, member);
    /// A member hears from its group; it joins a rebalance, or learns that it was removed.
    Heartbeat "heartbeat" (member);
    /// The outcome of a rebalance reaches a member: partitions are revoked and assigned.
    Sync "sync" (member);
    /// The group removes a member that it has not heard of.
    Expire "expire" (member);
    /// The watchdog gives a client up and makes another one.
    Replace "replace" (member);
    /// The client fetches ahead.
    Fetch "fetch" (member, partition, records);
    /// The thread that polls hands a chunk over, or goes on after a callback.
    Poll "poll" (member, records);
    /// The client tells what is committed as far as it knows.
    Known "known" (member);
    /// An asynchronous commit reaches the broker, and its answer the client.
    Land "land" (member);
    /// An asynchronous commit is lost on its way.
    LoseCommit "lose-commit" (member);
    /// An asynchronous commit reaches the broker, but its answer is lost.
    LoseAnswer "lose-answer" (member);
    /// The heart takes what comes next on the control queue.
    Control "control" (member);
    /// The heart takes the next chunk.
    Chunk "chunk" (member);
    /// The shell carries the next command out.
    Shell "shell" (member);
    /// The server executes a statement: 0 is the screening, 1 the writer's, 2 the net's.
    Execute "execute" (member, task);
    /// The answer to a statement reaches the heart.
    Answer "answer" (member, task);
    /// The database certainly does nothing.
    Unavailable "unavailable" (member, task);
    /// The listener gives up waiting for a statement that takes long, which may be done, or be done later.
    Slow "slow" (member, task);
    /// The connection breaks. The statement may be done, or be done later.
    Unanswered "unanswered" (member, task);
    /// The database fails in a way that no waiting mends.
    Fatal "fatal" (member, task);
    /// The server executes and answers so many statements of the net at once, from now on.
    Serve "serve" (member, statements);
    /// The server says to a net that takes that it is another listener's turn.
    Busy "busy" (member);
    /// The server executes what a net takes, except for a row that somebody has locked and does not keep.
    Locked "locked" (member, id);
    /// A statement that nobody waits for is executed after all.
    Zombie "zombie" ();
    /// A statement that nobody waits for dies.
    Forget "forget" ();
    /// A process dies.
    Crash "crash" (member);
    /// A process that is dead is started.
    Start "start" (member);
    /// A process that is dead is started, of a release that had no net.
    StartOld "start-old" (member);
    /// A process is told to end.
    Stop "stop" (member);
    /// PostgreSQL's clock jumps.
    Jump "jump" (ms);
    /// Time passes.
    Wait "wait" (ms);
}

fn field(word: Option<&str>, name: &str) -> Result<i64, String> {
    let value = word.and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("it lacks {name}=NUMBER"))
}

/// What does not change during a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The number from which the history was derived; it seeds the hearts.
    pub seed: u64,
    /// How many listeners there are, from 1 on.
    pub members: usize,
    /// How many partitions there are, from 1 on.
    pub partitions: usize,
    /// The listeners' `min_batch_size`.
    pub min: usize,
    /// The listeners' `max_batch_size`.
    pub max: usize,
    /// How many milliseconds ahead a stamp is due that is stored in the table; 0 is never.
    pub horizon_ms: i64,
    /// Whether at the end all listeners are stopped, instead of killed, before they are started once more.
    pub clean: bool,
}

/// A history that can be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// What holds throughout the history.
    pub settings: Settings,
    /// What happens in the history, in order.
    pub choices: Vec<Choice>,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { seed, members, partitions, min, max, horizon_ms, clean } = self.settings;
        writeln!(
            f,
            "{VERSION} seed={seed} members={members} partitions={partitions} min={min} max={max} \
             horizon_ms={horizon_ms} clean={}",
            i64::from(clean)
        )?;
        self.choices.iter().try_for_each(|choice| writeln!(f, "{choice}"))
    }
}

impl FromStr for History {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A line that begins with `#` is a remark.
        let mut lines =
            text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
        let (head, _) = lines.next().ok_or("it is empty")?;
        let settings = settings(head).map_err(|reason| format!("its first line: {reason}"))?;
        let choice = |(line, number): (&str, u32)| {
            line.parse::<Choice>().map_err(|reason| format!("line {number}: {reason}"))
        };
        Ok(Self { settings, choices: lines.map(choice).collect::<Result<_, _>>()? })
    }
}

fn settings(head: &str) -> Result<Settings, String> {
    let mut words = head.split_whitespace();
    if words.next() != Some(VERSION) {
        return Err(format!("it does not begin with {VERSION}"));
    }
    let seed = words.next().and_then(|word| word.strip_prefix("seed=")?.parse().ok());
    let mut number = |name: &str, bounds: std::ops::RangeInclusive<i64>| {
        let value = field(words.next(), name)?;
        if bounds.contains(&value) { Ok(value) } else { Err(format!("{name}={value} is out of bounds")) }
    };
    let settings = Settings {
        seed: seed.ok_or("it lacks seed=NUMBER")?,
        members: number("members", 1..=9)? as usize,
        partitions: number("partitions", 1..=9)? as usize,
        min: number("min", 1..=1_000)? as usize,
        max: number("max", 1..=1_000)? as usize,
        horizon_ms: number("horizon_ms", 0..=i64::from(u32::MAX))?,
        clean: number("clean", 0..=1)? == 1,
    };
    if settings.min > settings.max {
        return Err("min is above max".to_owned());
    }
    Ok(settings)
}
