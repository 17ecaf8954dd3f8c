//! Messages: from records to rows, and what users do with theirs.

mod records;
mod rows;
