//! ORMs beside headcount: `drizzle-kit push` for real, against PostgreSQL.

use super::process::{headcount, run, text};
use super::support::needs::DRIZZLE;
use super::support::{Backend, Db};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with drizzle-kit.
fn drizzle() -> Option<PathBuf> {
    DRIZZLE.found().map(PathBuf::from)
}

/// A folder for one application, from which drizzle's packages are found.
fn application(drizzle: &Path) -> tempfile::TempDir {
    tempfile::Builder::new().prefix("app").tempdir_in(drizzle).unwrap()
}

fn schema(db: &Db, folder: &Path, args: &[&str]) -> String {
    let output = run(headcount(&db.url).current_dir(folder).arg("schema").args(args));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn push(drizzle: &Path, folder: &Path, url: &str) -> String {
    let kit = drizzle.join("node_modules/drizzle-kit/bin.cjs");
    let mut command = Command::new("node");
    command.arg(kit).args(["push", "--force", "--verbose"]).current_dir(folder).env("DATABASE_URL", url);
    let output = run(&mut command);
    let told = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("Changes applied") || told.contains("No changes detected"), "{told}");
    assert!(!told.contains("DROP"), "{told}");
    told
}

/// Everything in the database that is headcount's, and its trigger.
async fn ours(db: &Db) -> Vec<Vec<Option<String>>> {
    let mut all = db
        .query(
            "SELECT table_schema, table_name, column_name, data_type, column_default, is_nullable FROM information_schema.columns
             WHERE table_schema = 'headcount' OR table_name = 'users' ORDER BY 1, 2, 3",
        )
        .await;
    all.retain(|row| row[2].as_deref() != Some("favourite_colour"));
    all.extend(
        db.query("SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1")
            .await,
    );
    all.extend(db.query("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname IN ('headcount', 'public') ORDER BY 1").await);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn drizzle_kit_push_leaves_headcounts_tables_alone() {
    let Some(drizzle) = drizzle() else { return };
    let db = Db::new(Backend::Postgres).await;
    let folder = application(&drizzle);
    let path = folder.path();
    std::fs::write(path.join("schema.ts"), schema(&db, path, &["drizzle"])).unwrap();
    std::fs::write(path.join("drizzle.config.ts"), schema(&db, path, &["drizzle", "--settings"])).unwrap();
    let before = ours(&db).await;
    push(&drizzle, path, &db.url);
    assert_eq!(ours(&db).await, before);
    // The application adds a column to users, and a table that refers to it.
    let model = std::fs::read_to_string(path.join("schema.ts")).unwrap();
    let model = model.replace(
        "  email: text(\"email\"),",
        "  email: text(\"email\"),\n  colour: text(\"favourite_colour\"),",
    ) + "\nexport const posts = pgTable(\"posts\", {\n  id: uuid(\"id\").primaryKey(),\n  \
           authorId: uuid(\"author_id\").references(() => users.id),\n});\n";
    std::fs::write(path.join("schema.ts"), model).unwrap();
    push(&drizzle, path, &db.url);
    let after = ours(&db).await;
    let headcounts = |rows: &[Vec<Option<String>>]| -> Vec<Vec<Option<String>>> {
        rows.iter().filter(|row| row[0].as_deref() != Some("posts_pkey")).cloned().collect()
    };
    assert_eq!(headcounts(&after), before);
    assert_eq!((db.count("posts").await, db.count("users WHERE favourite_colour IS NOT NULL").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn drizzle_kit_push_leaves_an_adopted_table_as_its_own_model_has_it() {
    let Some(drizzle) = drizzle() else { return };
    let db = Db::empty(Backend::Postgres).await;
    let folder = application(&drizzle);
    let path = folder.path();
    let users = "[users]\ntable = \"people\"\n[users.columns]\nemail = \"mail\"\nid = \"clerk_id\"\n";
    std::fs::write(path.join("headcount.toml"), users).unwrap();
    let model = "import { pgTable, serial, text } from \"drizzle-orm/pg-core\";\n\
         export const people = pgTable(\"people\", { id: serial(\"id\").primaryKey(), mail: text(\"mail\"), clerkId: text(\"clerk_id\").unique() });\n";
    std::fs::write(path.join("schema.ts"), model).unwrap();
    std::fs::write(path.join("drizzle.config.ts"), schema(&db, path, &["drizzle", "--settings"])).unwrap();
    assert!(schema(&db, path, &["drizzle"]).contains("public.people"));
    push(&drizzle, path, &db.url);
    let migrated = run(headcount(&db.url).current_dir(path).arg("migrate"));
    assert_eq!(migrated.status.code(), Some(0), "{}", text(&migrated.stderr));
    let before = ours(&db).await;
    let told = push(&drizzle, path, &db.url);
    assert!(told.contains("No changes detected"), "{told}");
    assert_eq!(ours(&db).await, before);
}

/// What is printed is at least what it says: a model of every column there is.
#[tokio::test(flavor = "multi_thread")]
async fn models_have_every_column_on_each_database() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let db = Db::new(backend).await;
        let columns = match backend {
            Backend::Sqlite => db.query("SELECT name FROM pragma_table_info('users')").await,
            _ => db.query("SELECT CAST(column_name AS text) FROM information_schema.columns WHERE table_name = 'users'").await,
        };
        for orm in ["drizzle", "prisma"] {
            let model = schema(&db, &std::env::temp_dir(), &[orm]);
            for column in &columns {
                let column = column[0].as_ref().unwrap();
                assert!(
                    model.contains(&format!("\"{column}\"")) || model.contains(&format!("\n  {column} ")),
                    "{orm}: {column}"
                );
            }
        }
        let settings = schema(&db, &std::env::temp_dir(), &["prisma", "--settings"]);
        assert!(settings.contains("users\"") && settings.contains("externalTables: true"), "{settings}");
        assert_eq!(settings.contains("headcount_held_values"), backend == Backend::Sqlite, "{settings}");
    }
}
