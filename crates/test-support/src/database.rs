//! A database for one test, copied from a migrated template and dropped at the end.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use platform::settings::Secret;
use store::migrations;
use store::settings::DatabaseSettings;
use tokio::sync::OnceCell;
pub use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::stack::{stack, workspace};

/// A database of one's own.
pub struct TestDatabase {
    name: String,
    url: String,
    client: Client,
}

/// A role of [`roles_sql`] with which a program or a person connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The role of `stamp-api migrate`.
    Migrator,
    /// The role of `stamp-api serve`.
    Api,
    /// The role of `queue-listener`.
    Listener,
    /// The role of whoever reads only.
    Reader,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Migrator, Self::Api, Self::Listener, Self::Reader];

    fn name(self) -> &'static str {
        match self {
            Self::Migrator => "migrator",
            Self::Api => "api",
            Self::Listener => "listener",
            Self::Reader => "reader",
        }
    }
}

/// The password of the roles that tests log in with: the server listens on this machine alone.
const PASSWORD: &str = "test";

/// Returns what an administrator runs to make the roles.
pub fn roles_sql() -> String {
    std::fs::read_to_string(roles_file()).expect("the roles")
}

fn roles_file() -> PathBuf {
    workspace().join("deploy/postgres/roles.sql")
}

/// The lock under which the template is made, so that test processes that start together make it once.
const TEMPLATE_LOCK: i64 = 0x7465_7374;

impl TestDatabase {
    /// Makes a database with all migrations applied and the rights of the roles given.
    pub async fn new() -> Self {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        let template = TEMPLATE.get_or_init(make_template).await;
        Self::create(Some(template)).await
    }

    /// Makes an empty database.
    pub async fn empty() -> Self {
        Self::create(None).await
    }

    async fn create(template: Option<&str>) -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let template = template.map_or_else(String::new, |template| format!(" TEMPLATE {template}"));
        let server = connect(&stack().database_url).await;
        server
            .batch_execute(&format!("CREATE DATABASE {name}{template}"))
            .await
            .expect("a database of one's own");
        let url = url_of(&name);
        let client = connect(&url).await;
        Self { name, url, client }
    }

    /// Makes an empty database that holds text in another encoding than UTF-8.
    pub async fn encoded(encoding: &str) -> Self {
        Self::create(Some(&format!("template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"))).await
    }

    /// Returns the database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the database's `DATABASE_URL`, with the role that owns everything in it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the database's `DATABASE_URL` for a role.
    pub fn url_as(&self, role: Role) -> String {
        let mut url = url::Url::parse(&self.url).expect("it was made here");
        url.set_username(&format!("test_{}", role.name())).expect("it has a host");
        url.set_password(Some(PASSWORD)).expect("it has a host");
        url.into()
    }

    /// Opens a further connection, for a transaction that stays open.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }

    /// Opens a connection of a role.
    pub async fn connect_as(&self, role: Role) -> Client {
        connect(&self.url_as(role)).await
    }

    /// Opens a connection of somebody who may do everything.
    pub async fn connect_as_admin(&self) -> Client {
        connect(&at(&stack().database_admin_url, &self.name)).await
    }

    /// Returns settings for a pool on the database.
    pub fn settings(&self) -> DatabaseSettings {
        DatabaseSettings { url: Secret::new(&self.url), pool_size: 10 }
    }

    /// Returns a pool on the database.
    pub fn pool(&self) -> store::Database {
        store::Database::new(&self.settings(), "test").expect("the URL is valid")
    }

    /// Runs a query over a connection that the services don't have.
    pub async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.client.query(sql, parameters).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// Runs a query that returns one number.
    pub async fn number(&self, sql: &str) -> i64 {
        self.query(sql, &[]).await[0].get(0)
    }

    /// Makes the database refuse rows of a table, with this SQLSTATE. `rows`: a condition on `NEW`, such as
    /// `NEW.subject = 'bad'`. The trigger is called `refuse`.
    pub async fn refuse(&self, table: &str, rows: &str, sqlstate: &str) {
        let sql = format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '{sqlstate}'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW WHEN ({rows}) EXECUTE FUNCTION refuse()"
        );
        self.run(&sql).await;
    }

    /// Runs statements.
    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Ends the connection, so that the database can be copied.
    pub fn closed(mut self) -> Template {
        Template { name: std::mem::take(&mut self.name) }
    }
}

/// A database to which nobody is connected, dropped at the end.
pub struct Template {
    name: String,
}

impl Template {
    /// Makes a database that holds the same.
    pub async fn copy(&self) -> TestDatabase {
        TestDatabase::create(Some(&self.name)).await
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        drop_database(&self.name);
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A name that was taken away lives on in a template.
        if !self.name.is_empty() {
            drop_database(&self.name);
        }
    }
}

fn drop_database(name: &str) {
    let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    let dropped = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { connect(&stack().database_url).await.batch_execute(&sql).await })
    });
    // A database that stays behind harms nobody.
    let _left_behind = dropped.join();
}

async fn connect(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.expect("the test stack's PostgreSQL answers");
    tokio::spawn(connection);
    client
}

fn url_of(database: &str) -> String {
    at(&stack().database_url, database)
}

/// Returns the URL of another database of a server.
fn at(url: &str, database: &str) -> String {
    let mut url = url::Url::parse(url).expect("the stack prints a URL");
    url.set_path(database);
    url.into()
}

/// Makes the template for this state of the migrations and roles, if nobody has.
async fn make_template() -> String {
    let name = format!("template_{:016x}", hash_of_template());
    let server = connect(&stack().database_url).await;
    server.execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK]).await.expect("the template's lock");
    let exists = server
        .query_opt("SELECT FROM pg_database WHERE datname = $1 AND datistemplate", &[&name])
        .await
        .expect("the list of databases");
    if exists.is_none() {
        // One that is no template yet was left half made.
        server
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
            .expect("none is left");
        server.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a template");
        let settings = DatabaseSettings { url: Secret::new(url_of(&name)), pool_size: 2 };
        // The migration harness needs a runtime with threads of its own.
        let migrated = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            runtime.block_on(migrations::migrate(&settings)).map_err(|error| format!("{error:#}"))
        });
        migrated.join().expect("the migration does not panic").expect("the migrations apply");
        make_roles(&name).await;
        server
            .batch_execute(&format!("ALTER DATABASE {name} IS_TEMPLATE true"))
            .await
            .expect("it is a template");
    }
    server.execute("SELECT pg_advisory_unlock($1)", &[&TEMPLATE_LOCK]).await.expect("the lock is ours");
    name
}

/// Gives the roles their rights in the template, and makes those that can log in. Roles belong to all databases of the
/// server. The owner of the tests is a member of them all, so that it sees and ends their sessions.
async fn make_roles(template: &str) {
    let server = connect(&at(&stack().database_admin_url, template)).await;
    server.batch_execute(&roles_sql()).await.expect("the roles have their rights");
    let owner = url::Url::parse(&stack().database_url).expect("the stack prints a URL").username().to_owned();
    for name in Role::ALL.map(Role::name) {
        let made = format!(
            "DO $$ BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'test_{name}') THEN
                    CREATE ROLE test_{name} LOGIN PASSWORD '{PASSWORD}' IN ROLE stamp_{name};
                    GRANT test_{name} TO {owner};
                END IF;
            END $$"
        );
        server.batch_execute(&made).await.expect("a role that can log in");
    }
}

fn hash_of_template() -> u64 {
    let mut files: Vec<_> = std::fs::read_dir(workspace().join("migrations"))
        .expect("the migrations")
        .map(|entry| entry.expect("an entry").path().join("up.sql"))
        .filter(|file| file.exists())
        .collect();
    files.sort();
    files.push(roles_file());
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        std::fs::read(&file).expect("a file that the template is made of").hash(&mut hasher);
    }
    hasher.finish()
}
