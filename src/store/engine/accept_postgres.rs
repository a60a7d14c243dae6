//! The statement that stores deliveries on PostgreSQL, and what it answers.

use crate::core::timestamp::Timestamp;
use crate::store::engine::delivery::{FIRST_STATUS, NewDelivery, TEXTS, TIMES, Texts, first_states};
use crate::store::engine::error::StoreError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Postgres, Row as _};

/// An array for each column. Text is bound as it is: of a body there is one copy, in what is sent.
pub(super) fn insert(
    deliveries: &[NewDelivery],
    is_direct: bool,
) -> sqlx::query::Query<'static, Postgres, PgArguments> {
    let columns = [TEXTS.as_slice(), TIMES.as_slice()].concat();
    let kind = |column: usize| if column < TEXTS.len() { "text" } else { "timestamptz" };
    let arrays: Vec<String> =
        (0..columns.len()).map(|column| format!("CAST(${} AS {}[])", column + 1, kind(column))).collect();
    let sql = format!(
        "WITH new AS (
             INSERT INTO headcount.deliveries ({columns}, received_at)
             SELECT v.*, clock_timestamp() FROM UNNEST({arrays}) AS v
             ON CONFLICT (source, message_id) DO NOTHING
             RETURNING seq, source, message_id, dead_because, {FIRST_STATUS} AS status),
         states AS ({states})
         SELECT CAST(count(*) = ${all} AS text), NULL FROM new
         UNION ALL SELECT source, message_id FROM new WHERE (SELECT count(*) FROM new) <> ${all}",
        columns = columns.join(", "),
        arrays = arrays.join(", "),
        states = first_states("new", "now()"),
        all = arrays.len() + 1,
    );
    let texts: Vec<Texts> = deliveries.iter().map(NewDelivery::texts).collect();
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(is_direct);
    for column in 0..TEXTS.len() {
        query = query.bind(texts.iter().map(|texts| texts[column]).collect::<Vec<_>>());
    }
    for column in 0..TIMES.len() {
        let times = deliveries.iter().map(|delivery| delivery.times()[column].map(Timestamp::to_time));
        query = query.bind(times.collect::<Vec<_>>());
    }
    query.bind(deliveries.len() as i64)
}

/// What [`insert`] answers: first whether all were new, then those that were where not all were.
pub(super) fn new(rows: &[PgRow]) -> Result<Option<Vec<(String, String)>>, StoreError> {
    let (all, new) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
    match all.try_get::<&str, _>(0)? {
        "true" => Ok(None),
        _ => {
            let key = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
            Ok(Some(new.iter().map(key).collect::<Result<_, sqlx::Error>>()?))
        }
    }
}
