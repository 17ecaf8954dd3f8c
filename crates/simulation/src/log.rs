//! Kafka's log: records come at the end, and go at the head, at the tail, or all at once.

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The event of a stamp, by its id.
    Stamp(u8),
    /// The replay of a dead letter, which the database finds to be a stamp.
    Replay(u8),
    /// A record that can't be understood.
    Garbage,
}

/// A record, also one that the log holds no longer. A record's serial number is its place among all that ever were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) what: What,
    /// The branch of its partition on which the record was appended.
    pub(crate) branch: usize,
    /// Whether the log holds the record no longer.
    pub(crate) gone: bool,
    /// Whether the record was appended below an offset that was committed for records that are gone, and that no lower
    /// commit has corrected since: Kafka itself will hide it from the next reader.
    pub(crate) hidden: bool,
}

impl Record {
    pub(crate) fn id(&self) -> Option<u8> {
        match self.what {
            What::Stamp(id) | What::Replay(id) => Some(id),
            What::Garbage => None,
        }
    }
}

/// One partition of the log.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The offset at which each further branch has begun, so that the number of cuts names the branch.
    cuts: Vec<i64>,
    /// Serial numbers in order of offsets.
    records: Vec<u32>,
}

impl Partition {
    pub(crate) fn branch(&self) -> usize {
        self.cuts.len()
    }

    /// Returns the lowest offset at which the log was cut since a branch.
    pub(crate) fn cut_since(&self, branch: usize) -> Option<i64> {
        self.cuts[branch..].iter().min().copied()
    }
}

/// The logs of all partitions.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) records: Vec<Record>,
    pub(crate) partitions: Vec<Partition>,
}

impl Log {
    pub(crate) fn new(partitions: usize) -> Self {
        Self { records: Vec::new(), partitions: (0..partitions).map(|_| Partition::default()).collect() }
    }

    /// Appends a record. `committed` is what the group has committed there.
    pub(crate) fn append(&mut self, partition: usize, what: What, committed: i64) {
        let log = &mut self.partitions[partition];
        let (offset, branch) = (log.end, log.branch());
        log.records.push(self.records.len() as u32);
        log.end += 1;
        let hidden = committed > offset;
        self.records.push(Record { partition: partition as i32, offset, what, branch, gone: false, hidden });
    }

    pub(crate) fn gap(&mut self, partition: usize) {
        self.partitions[partition].end += 1;
    }

    /// Takes records from the head. Returns whether there were any.
    pub(crate) fn retain(&mut self, partition: usize, records: usize) -> bool {
        let log = &mut self.partitions[partition];
        let gone: Vec<u32> = log.records.drain(..records.min(log.records.len())).collect();
        let first = log.records.first();
        log.start = first.map_or(log.end, |serial| self.records[*serial as usize].offset);
        self.lose(&gone)
    }

    /// Cuts records from the tail. Returns whether there were any.
    pub(crate) fn truncate(&mut self, partition: usize, records: usize) -> bool {
        let log = &mut self.partitions[partition];
        let gone = log.records.split_off(log.records.len().saturating_sub(records));
        let Some(first) = gone.first() else { return false };
        log.end = self.records[*first as usize].offset;
        log.cuts.push(log.end);
        self.lose(&gone)
    }

    /// Deletes everything and begins at 0. Returns whether there was anything.
    pub(crate) fn recreate(&mut self, partition: usize) -> bool {
        let log = &mut self.partitions[partition];
        if log.end == 0 {
            return false;
        }
        let gone = std::mem::take(&mut log.records);
        (log.start, log.end) = (0, 0);
        log.cuts.push(0);
        self.lose(&gone);
        true
    }

    fn lose(&mut self, gone: &[u32]) -> bool {
        for serial in gone {
            self.records[*serial as usize].gone = true;
        }
        !gone.is_empty()
    }

    /// Returns the records of a partition from an offset on, by serial number.
    pub(crate) fn from(&self, partition: usize, offset: i64) -> impl Iterator<Item = u32> {
        let records = self.partitions[partition].records.iter().copied();
        records.skip_while(move |serial| self.records[*serial as usize].offset < offset)
    }

    pub(crate) fn record(&self, serial: u32) -> &Record {
        &self.records[serial as usize]
    }

    /// Returns all records that the log still holds.
    pub(crate) fn surviving(&self) -> impl Iterator<Item = (u32, &Record)> {
        self.records
            .iter()
            .zip(0..)
            .filter(|(record, _)| !record.gone)
            .map(|(record, serial)| (serial, record))
    }
}
