//! Figures of a run, for the programs that measure.

use std::process::Command;
use std::sync::OnceLock;

use crate::world::World;

/// Returns how late stamps left that did not leave before they were due.
pub async fn lateness(world: &World) -> String {
    let sql = "SELECT format('p50 %s ms, p99 %s ms, max %s ms',
                   round(percentile_cont(0.5) WITHIN GROUP (ORDER BY late)::numeric, 1),
                   round(percentile_cont(0.99) WITHIN GROUP (ORDER BY late)::numeric, 1), round(max(late)::numeric, 1))
               FROM (SELECT extract(epoch FROM processed_at - process_after)::float8 * 1000 AS late
                     FROM stamp_states WHERE processed_at >= process_after) s";
    world.database.query(sql, &[]).await[0].get(0)
}

/// Returns how many stamps more are in batches than there are.
pub async fn twice(world: &World) -> i64 {
    let sql = "SELECT (SELECT coalesce(sum(size), 0)::bigint FROM batches) - count(DISTINCT object_cid)
               FROM stamp_states WHERE state = 'processed'";
    world.database.number(sql).await
}

/// Returns how many transactions the database has seen.
pub async fn transactions(world: &World) -> i64 {
    let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    world.database.number(sql).await
}

/// Returns the CPU seconds of the sessions in the database.
pub async fn cpu_of_sessions(world: &World) -> f64 {
    let sql = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let rows = world.database.query(sql, &[]).await;
    rows.iter().map(|row| cpu(row.get(0))).sum()
}

/// Returns the CPU seconds of a process so far; 0 if it is gone.
pub fn cpu(pid: &str) -> f64 {
    seconds(pid, 2)
}

/// Returns the CPU seconds of a process and of those of its children that have ended.
pub fn cpu_with_ended_children(pid: &str) -> f64 {
    seconds(pid, 4)
}

/// Returns the sum of so many times that Linux tells of a process, those of ended children last.
fn seconds(pid: &str, times: usize) -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    let rate = RATE.get_or_init(|| {
        let rate = Command::new("getconf").arg("CLK_TCK").output().expect("getconf runs").stdout;
        String::from_utf8_lossy(&rate).trim().parse().expect("a number")
    });
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(times);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / rate
}
