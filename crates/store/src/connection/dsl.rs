//! Diesel's queries over a [`Session`]: Diesel writes them and reads their rows, and they run as all other statements
//! do.

use std::error::Error as StdError;
use std::num::NonZeroU32;
use std::ops::Range;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::pg::{Pg, PgMetadataLookup, PgQueryBuilder, PgTypeMetadata, PgValue, TypeOidLookup};
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{AsQuery, QueryBuilder, QueryFragment, QueryId};
use diesel::result::Error as DieselError;
use diesel::row::{Field, PartialRow, Row as DieselRow, RowIndex, RowSealed};
use diesel_async::{AsyncConnectionCore, SimpleAsyncConnection};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::parameter::Parameter;
use super::session::{Answered, Session};

impl SimpleAsyncConnection for Session {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.batch(query).await.map_err(failed)
    }
}

impl AsyncConnectionCore for Session {
    type Backend = Pg;
    type ExecuteFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<usize>>;
    type LoadFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<Self::Stream<'conn, 'query>>>;
    type Row<'conn, 'query> = LoadedRow;
    type Stream<'conn, 'query> = BoxStream<'static, QueryResult<LoadedRow>>;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        let query = WrittenQuery::of(&source.as_query());
        Box::pin(async move {
            let rows = query?.run(self).await?.rows;
            Ok(stream::iter(rows).map(|row| LoadedRow::new(row).map_err(|oid| unknown(&oid))).boxed())
        })
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        let query = WrittenQuery::of(&source);
        Box::pin(async move { Ok(query?.run(self).await?.affected as usize) })
    }
}

/// Hands an error through Diesel, to be found again by [`DatabaseError`](crate::error::DatabaseError).
fn failed(error: tokio_postgres::Error) -> DieselError {
    DieselError::QueryBuilderError(Box::new(error))
}

fn unknown(what: &str) -> DieselError {
    DieselError::DeserializationError(what.into())
}

/// A query as Diesel has written it.
struct WrittenQuery {
    sql: String,
    binds: Vec<Bind>,
}

impl WrittenQuery {
    fn of(query: &dyn QueryFragment<Pg>) -> QueryResult<Self> {
        let mut builder = PgQueryBuilder::default();
        query.to_sql(&mut builder, &Pg)?;
        let mut collector = RawBytesBindCollector::<Pg>::new();
        query.collect_binds(&mut collector, &mut BuiltIn, &Pg)?;
        let bind = |(metadata, bytes): (PgTypeMetadata, Option<Vec<u8>>)| {
            let sql_type = metadata.oid().ok().and_then(Type::from_oid);
            Ok(Bind { sql_type: sql_type.ok_or_else(|| unknown("a type that is not built in"))?, bytes })
        };
        let binds =
            collector.metadata.into_iter().zip(collector.binds).map(bind).collect::<QueryResult<_>>()?;
        Ok(Self { sql: builder.finish(), binds })
    }

    async fn run(&self, session: &Session) -> QueryResult<Answered> {
        let binds: Vec<&dyn Parameter> = self.binds.iter().map(|bind| bind as &dyn Parameter).collect();
        session.run(&self.sql, &binds).await.map_err(failed)
    }
}

/// Knows none but the built-in types: no table has a column of another one.
struct BuiltIn;

impl PgMetadataLookup for BuiltIn {
    fn lookup_type(&mut self, _: &str, _: Option<&str>) -> PgTypeMetadata {
        PgTypeMetadata::new(0, 0)
    }
}

/// A value as Diesel has written it.
#[derive(Debug)]
struct Bind {
    sql_type: Type,
    bytes: Option<Vec<u8>>,
}

impl ToSql for Bind {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Some(bytes) = &self.bytes else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Parameter for Bind {
    fn sql_type(&self) -> Type {
        self.sql_type.clone()
    }
}

/// A row for Diesel to read.
pub(crate) struct LoadedRow {
    row: Row,
    types: Vec<Oid>,
}

impl LoadedRow {
    fn new(row: Row) -> Result<Self, String> {
        let oid = |column: &tokio_postgres::Column| NonZeroU32::new(column.type_().oid()).map(Oid);
        let types: Option<Vec<Oid>> = row.columns().iter().map(oid).collect();
        types.map(|types| Self { row, types }).ok_or_else(|| "a column without a type".to_owned())
    }
}

impl RowSealed for LoadedRow {}

impl<'a> DieselRow<'a, Pg> for LoadedRow {
    type Field<'b>
        = LoadedField<'b>
    where
        'a: 'b,
        Self: 'b;
    type InnerPartialRow = Self;

    fn field_count(&self) -> usize {
        self.types.len()
    }

    fn get<'b, I>(&'b self, index: I) -> Option<Self::Field<'b>>
    where
        'a: 'b,
        Self: RowIndex<I>,
    {
        Some(LoadedField { index: self.idx(index)?, row: self })
    }

    fn partial_row(&self, range: Range<usize>) -> PartialRow<'_, Self::InnerPartialRow> {
        PartialRow::new(self, range)
    }
}

impl RowIndex<usize> for LoadedRow {
    fn idx(&self, index: usize) -> Option<usize> {
        (index < self.types.len()).then_some(index)
    }
}

impl<'a> RowIndex<&'a str> for LoadedRow {
    fn idx(&self, name: &'a str) -> Option<usize> {
        self.row.columns().iter().position(|column| column.name() == name)
    }
}

/// A column of a row for Diesel to read.
pub(crate) struct LoadedField<'a> {
    row: &'a LoadedRow,
    index: usize,
}

impl<'a> Field<'a, Pg> for LoadedField<'a> {
    fn field_name(&self) -> Option<&str> {
        Some(self.row.row.columns()[self.index].name())
    }

    fn value(&self) -> Option<<Pg as Backend>::RawValue<'_>> {
        let Raw(bytes) = self.row.row.get(self.index);
        bytes.map(|bytes| PgValue::new(bytes, &self.row.types[self.index]))
    }
}

/// Bytes of a column as the server has sent them.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

struct Oid(NonZeroU32);

impl TypeOidLookup for Oid {
    fn lookup(&self) -> NonZeroU32 {
        self.0
    }
}
