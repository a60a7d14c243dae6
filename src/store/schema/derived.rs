//! What in the database depends on configuration: the state trigger with its required fields, the states of rows, and
//! what applications are offered.

use crate::nearest::nearest;
use crate::store::Store;
use crate::store::accounts::codec::texts;
use crate::store::engine::driver::{Access, Arg, Tx};
use crate::store::engine::error::StoreError;
use crate::store::inbox::deliveries::first;
use crate::store::schema::migrate::{REQUIRED_BY_DEFAULT, REQUIRED_FIELDS, Step, checksum, split};
use std::time::Duration;

/// The digest of the script that made the view and the function for applications.
const OFFERED: &str = "offered";
/// Up to which row states are corrected; there only while they are.
const CORRECTING: &str = "correcting_states";
/// Rows whose state is corrected in one transaction.
const SLICE_ROWS_MAX: i64 = 2_000;
/// Between two of them.
const SLICE_PAUSE: Duration = Duration::from_millis(5);
const STATE_STEP: &str = "the account state trigger";

impl Store {
    /// The trigger, and which fields it requires.
    pub(in crate::store) async fn state_steps(
        &self,
        tx: &mut dyn Tx,
        exists: bool,
        required: &[String],
        steps: &mut Vec<Step>,
    ) -> Result<(), StoreError> {
        let users = self.users_table();
        let mut columns = users.requirable();
        columns.extend(match exists {
            true => texts(tx.fetch(&users.column_names(), vec![]).await?),
            false => created_columns(users.create().as_str()),
        });
        check_required(required, &columns)?;
        let installed = match exists {
            true => texts(tx.fetch(&users.installed_state(), vec![]).await?),
            false => Vec::new(),
        };
        if installed != users.state_source(required) {
            let title = format!("{STATE_STEP} (required: {})", required.join(", "));
            let again = self.set_setting(CORRECTING, "");
            steps.push(Step { title, sql: format!("{};\n{again}", users.install_state(required)) });
        }
        Ok(())
    }

    /// What applications are offered in the database: by its text, which no catalog gives back as it was.
    pub(in crate::store) async fn offered_step(
        &self,
        tx: &mut dyn Tx,
        exists: bool,
        required: &[String],
        steps: &mut Vec<Step>,
    ) -> Result<(), StoreError> {
        let users = self.users_table();
        let Some(script) = users.offered(required) else { return Ok(()) };
        let digest = checksum(&script);
        let known = match exists {
            true => self.setting(tx, OFFERED).await?,
            false => None,
        };
        if known.as_ref() != Some(&digest) || !tx.fetch(users.lacks_offered(), vec![]).await?.is_empty() {
            let sql = format!("{script};\n{}", self.set_setting(OFFERED, &digest));
            let title =
                "what applications are offered: the view of people, and on PostgreSQL headcount.ensure";
            steps.push(Step { title: title.to_owned(), sql });
        }
        Ok(())
    }

    /// Rows written under other required fields get the state that they have under these, a slice at a time, so that
    /// the application goes on meanwhile. What was interrupted goes on where it was.
    pub(in crate::store) async fn correct_states(&self) -> Result<(), StoreError> {
        let users = self.users_table();
        let end_of =
            self.dialect().own(&format!("DELETE FROM headcount.settings WHERE key = '{CORRECTING}'"));
        loop {
            let mut tx = self.begin(Access::Read).await?;
            let Some(after) = self.setting(&mut *tx, CORRECTING).await? else { return Ok(()) };
            let required = self.setting(&mut *tx, REQUIRED_FIELDS).await?;
            drop(tx);
            let required = split(required.as_deref().unwrap_or(REQUIRED_BY_DEFAULT));
            let mut tx = self.begin(Access::Write).await?;
            let end = tx.fetch(&users.slice_end(), vec![Arg::text(&after), Arg::Int(SLICE_ROWS_MAX)]).await?;
            match first(end) {
                [Some(end)] => {
                    let slice = vec![Arg::text(&after), Arg::text(&end)];
                    tx.execute(&users.correct_state(&required), slice).await?;
                    tx.script(&self.set_setting(CORRECTING, &end)).await?;
                }
                [None] => tx.script(&end_of).await?,
            }
            tx.commit().await?;
            tokio::time::sleep(SLICE_PAUSE).await;
        }
    }
}

fn check_required(required: &[String], columns: &[String]) -> Result<(), StoreError> {
    for field in required {
        if !columns.contains(field) {
            let nearest = nearest(columns, field);
            return Err(StoreError::Setup(format!(
                "required field `{field}` is no column of users; the nearest is `{}`",
                nearest.map(String::as_str).unwrap_or_default()
            )));
        }
    }
    Ok(())
}

fn created_columns(create: &str) -> Vec<String> {
    create.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
