//! The variables of the process. No other file in the project reads them.

use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;

use super::invalid::InvalidSetting;

/// A text that never shows up in logs or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(not shown)")
    }
}

/// Variables that may be given as `X_FILE`, the name of a file that holds the value.
const SECRETS: [&str; 5] =
    ["DATABASE_URL", "JWT_SECRET", "JWT_PUBLIC_KEY", "BATCH_WEBHOOK_SECRET", "OTEL_EXPORTER_OTLP_HEADERS"];

/// The variables of the process. An empty one counts as not set.
#[derive(Debug, Clone)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads the process's environment and the files that `…_FILE` variables name.
    ///
    /// # Errors
    /// If a file that a `…_FILE` variable names can't be read, or a variable is given both ways.
    pub fn from_process() -> Result<Self, InvalidSetting> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::from_variables(std::env::vars_os().filter_map(text))
    }

    /// Takes these variables for those of the process: tests don't touch the process's own.
    ///
    /// # Errors
    /// If a file that a `…_FILE` variable names can't be read, or a variable is given both ways.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, InvalidSetting> {
        let mut all: HashMap<String, String> =
            variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let files: Vec<(String, String)> = all
            .iter()
            .filter_map(|(name, path)| Some((name.strip_suffix("_FILE")?.to_owned(), path.clone())))
            .filter(|(name, _)| SECRETS.contains(&name.as_str()))
            .collect();
        for (name, path) in files {
            let variable = format!("{name}_FILE");
            if all.contains_key(&name) {
                return Err(InvalidSetting::new(
                    &variable,
                    &path,
                    format!("{name} is set too; set one of them"),
                ));
            }
            let value = content_of(&path).map_err(|why| InvalidSetting::new(&variable, &path, why))?;
            all.insert(name, value);
        }
        Ok(Self(all))
    }

    /// Returns the value of one variable, if it is set.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// Fills a struct of optional strings whose fields are named as the variables, in lower case.
    ///
    /// # Errors
    /// If a field of the struct is not an optional string.
    pub fn section<T: DeserializeOwned>(&self) -> Result<T, InvalidSetting> {
        envy::from_iter(self.0.clone()).map_err(|error| InvalidSetting::Missing {
            name: "a variable".to_owned(),
            accepted: error.to_string(),
        })
    }

    /// Returns the variables whose names begin like this, in the order of their names.
    pub fn beginning_with(&self, prefix: &str) -> BTreeMap<String, String> {
        let of = self.0.iter().filter(|(variable, _)| variable.starts_with(prefix));
        of.map(|(variable, value)| (variable.clone(), value.clone())).collect()
    }
}

/// Reads the value that a file holds, without the line's end.
///
/// # Errors
/// What is accepted, if the file can't be read.
pub fn content_of(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map(|content| content.trim_end_matches(['\n', '\r']).to_owned())
        .map_err(|error| format!("the name of a file that can be read ({error})"))
}
