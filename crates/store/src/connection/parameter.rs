//! Parameters of statements, whose SQL types are known without asking the server.
//!
//! A statement that is to be sent in one round trip, as a pooler of transactions needs it, has to name them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

/// A value that a statement is given.
pub(crate) trait Parameter: ToSql + Sync {
    /// Returns the SQL type of the value.
    fn sql_type(&self) -> Type;
}

/// A type whose values stand alone or in an array.
pub(crate) trait Element: ToSql + Sync {
    /// The SQL type of a single value.
    const TYPE: Type;
    /// The SQL type of an array.
    const ARRAY: Type;
}

macro_rules! elements {
    ($($rust:ty => $sql:ident, $array:ident;)*) => {$(
        impl Element for $rust {
            const TYPE: Type = Type::$sql;
            const ARRAY: Type = Type::$array;
        }

        impl Parameter for $rust {
            fn sql_type(&self) -> Type {
                Self::TYPE
            }
        }
    )*};
}

elements! {
    bool => BOOL, BOOL_ARRAY;
    i32 => INT4, INT4_ARRAY;
    i64 => INT8, INT8_ARRAY;
    f64 => FLOAT8, FLOAT8_ARRAY;
    &str => TEXT, TEXT_ARRAY;
    String => TEXT, TEXT_ARRAY;
    &[u8] => BYTEA, BYTEA_ARRAY;
    Uuid => UUID, UUID_ARRAY;
    DateTime<Utc> => TIMESTAMPTZ, TIMESTAMPTZ_ARRAY;
    Value => JSONB, JSONB_ARRAY;
}

impl Element for Vec<u8> {
    const TYPE: Type = Type::BYTEA;
    const ARRAY: Type = Type::BYTEA_ARRAY;
}

impl<T: Element> Element for Option<T> {
    const TYPE: Type = T::TYPE;
    const ARRAY: Type = T::ARRAY;
}

impl<T: Element> Parameter for Vec<T> {
    fn sql_type(&self) -> Type {
        T::ARRAY
    }
}
