//! What a million waiting stamps cost. The figure is read from `/proc`, so it holds for Linux, where the
//! services run; it has a process of its own because it looks at the whole of one.
#![cfg(target_os = "linux")]

use chrono::{DateTime, TimeDelta};
use domain::batch::assignment::Position;
use domain::batch::pending::{PendingSet, PendingStamp};
use domain::stamp::{ObjectCid, Stamp, TimeTolerance};

const MESSAGES: i64 = 1_000_000;
const LIMIT_BYTES: u64 = 150_000_000;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux tells VmRSS");
    let kibibytes: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kibibytes * 1024
}

#[test]
fn a_million_waiting_messages_fit_in_150_megabytes() {
    let start = DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time");
    let before = resident_bytes();
    let mut set = PendingSet::default();
    for offset in 0..MESSAGES {
        // 36 characters, as a UUID has, and in no order.
        let scattered = (offset as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // As decoding makes it: one allocation of its exact size.
        let id = Box::from(format!("{scattered:016x}-{offset:019}").as_str());
        let id: Box<str> = id;
        assert_eq!(id.len(), 36);
        let stamp = Stamp::new(
            ObjectCid::parse(id).expect("a valid id"),
            TimeTolerance::from_minutes((scattered % 10_000) as i32).expect("a valid tolerance"),
            start + TimeDelta::microseconds(offset),
        )
        .expect("a valid due time");
        let position = Position { partition: 0, lap: 1, offset };
        set.insert(PendingStamp { stamp, position, has_row: false, sent_late: false }, |_| true);
    }
    let used = resident_bytes() - before;
    println!("{MESSAGES} waiting messages take {used} bytes");
    assert_eq!(set.len(), MESSAGES as usize);
    assert!(used <= LIMIT_BYTES, "{used} bytes are more than {LIMIT_BYTES}");
}
