//! File descriptors: sockets, files and pipes of the process.

/// Raises the limit of open files as far as the system allows without rights, and returns it.
///
/// Many systems start a process with a soft limit of 1,024, for programs that wait by `select`; none here does.
pub fn raise_limit() -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(error = error.to_string(), "the limit of open files can't be asked; taken for 1,024");
        1_024
    });
    usize::try_from(limit).unwrap_or(usize::MAX)
}
