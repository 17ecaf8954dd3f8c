//! How to reach the database.

use serde::Deserialize;

use platform::settings::{Environment, InvalidSetting, Secret, number};

/// How a process reaches its database: the settings of [`Database`](crate::Database).
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Where the database is, as `DATABASE_URL` has it.
    pub url: Secret,
    /// How many connections the process opens at most.
    pub pool_size: usize,
}

impl DatabaseSettings {
    /// Reads `DATABASE_URL` and `DATABASE_POOL_SIZE`.
    ///
    /// # Errors
    /// If the URL is missing or the number can't be used. The URL itself is understood by
    /// [`Database::new`](crate::Database::new).
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        #[derive(Deserialize)]
        struct Raw {
            database_url: Option<String>,
            database_pool_size: Option<String>,
        }
        let raw: Raw = environment.section()?;
        let url = raw.database_url.ok_or_else(|| InvalidSetting::Missing {
            name: "DATABASE_URL".to_owned(),
            accepted:
                "postgres://user:password@host:port/database, or DATABASE_URL_FILE with a file that holds it"
                    .to_owned(),
        })?;
        Ok(Self {
            url: Secret::new(url),
            pool_size: number("DATABASE_POOL_SIZE", raw.database_pool_size, 10, 4..=1_000)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<DatabaseSettings, InvalidSetting> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        DatabaseSettings::from_environment(&Environment::from_variables(owned).expect("no files are named"))
    }

    #[test]
    fn a_url_is_required_and_an_error_says_what_it_looks_like() {
        let error = settings(&[]).expect_err("required").to_string();
        assert!(error.starts_with("DATABASE_URL is not set: postgres://"), "{error}");
    }

    #[test]
    fn a_process_has_connections_for_everybody_who_must_not_wait_for_others() {
        let with = |size| settings(&[("DATABASE_URL", "postgres://u@h/d"), ("DATABASE_POOL_SIZE", size)]);
        for (size, expected) in [("4", 4), ("1000", 1_000), ("", 10)] {
            assert_eq!(with(size).expect(size).pool_size, expected);
        }
        for size in ["0", "3", "-1", "1001", "4.5", "many", "100000000000000000000"] {
            let error = with(size).expect_err(size).to_string();
            assert!(error.starts_with(&format!("DATABASE_POOL_SIZE={size:?}")), "{error}");
        }
    }

    #[test]
    fn the_url_is_a_secret_and_never_shown() {
        let settings = settings(&[("DATABASE_URL", "postgres://u:canary@h/d")]).expect("a URL");
        assert_eq!(settings.url.expose(), "postgres://u:canary@h/d");
        assert!(!format!("{settings:?}").contains("canary"));
    }
}
