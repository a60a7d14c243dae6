//! What a value's text means: numbers with units, lists, choices.

use super::ConfigError;
use super::layers::{Layers, Value};
use crate::core::brake::DeleteLimit;
use crate::core::proof::SweepLimit;
use crate::core::schedule::Schedule;
use crate::source::signature::Tolerance;

const TOLERANCE_MS_MAX: i64 = 3_600_000;
const CONNECTIONS_MAX: u32 = 1_000;

/// A comma list without empty parts.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

pub fn one_of<T: Copy>(layers: &Layers, key: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
    let value = layers.value(key)?;
    choices.iter().find(|(name, _)| *name == value.text).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        wrong(&value, &names.join(" or "))
    })
}

/// `1MiB`, `512KiB`, `1MB`, `1000000`.
pub fn bytes(value: &Value) -> Result<usize, ConfigError> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("KB", 1_000), ("MB", 1_000_000), ("B", 1), ("", 1)];
    with_unit(&value.text, &units)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| (1..=256 << 20).contains(bytes))
        .ok_or_else(|| wrong(value, "a size up to 256MiB, such as 1MiB or 512KiB"))
}

/// `30d`, `6h`, `15m`, `60s`, `500ms`.
pub fn duration_ms(value: &Value) -> Result<i64, ConfigError> {
    duration(&value.text)
        .ok_or_else(|| wrong(value, "a time with its unit, such as 30d, 6h, 15m, 60s or 500ms"))
}

fn duration(text: &str) -> Option<i64> {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    with_unit(text, &units)
        .and_then(|ms| i64::try_from(ms).ok())
        .filter(|ms| (1..=3_650 * 86_400_000).contains(ms))
}

/// `5m`, up to an hour: what is older may have been recorded and be sent by somebody else.
pub fn tolerance(value: &Value) -> Result<Tolerance, ConfigError> {
    match value.text.as_str() {
        "default" => Ok(Tolerance::OfTheScheme),
        text => duration(text)
            .filter(|ms| *ms <= TOLERANCE_MS_MAX)
            .map(Tolerance::Ms)
            .ok_or_else(|| wrong(value, "a time up to 1h, such as 5m")),
    }
}

/// A number of connections.
pub fn connections(value: &Value) -> Result<u32, ConfigError> {
    let number = value.text.trim().parse().ok().filter(|number| (1..=CONNECTIONS_MAX).contains(number));
    number.ok_or_else(|| wrong(value, "a number of connections from 1 to 1000"))
}

/// How often to read the newest changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollSetting {
    /// Where a source has an API key and no webhook secret.
    Default,
    Off,
    EveryMs(i64),
}

/// `default`, `off`, `5s`.
pub fn poll(value: &Value) -> Result<PollSetting, ConfigError> {
    match value.text.as_str() {
        "default" => Ok(PollSetting::Default),
        "off" => Ok(PollSetting::Off),
        text => {
            duration(text).map(PollSetting::EveryMs).ok_or_else(|| wrong(value, "a time such as 5s, or off"))
        }
    }
}

/// `6h`, a cron expression, `off`.
pub fn schedule(value: &Value) -> Result<Schedule, ConfigError> {
    let parsed = match value.text.as_str() {
        "off" => Some(Schedule::Off),
        text => duration(text).map(Schedule::EveryMs).or_else(|| Schedule::cron(text)),
    };
    parsed
        .ok_or_else(|| wrong(value, "an interval such as 6h, a cron expression such as `30 3 * * *`, or off"))
}

/// `50%`, as `0.5`.
pub fn share(value: &Value) -> Result<f64, ConfigError> {
    percent(&value.text)
        .filter(|percent| *percent >= 1.0)
        .map(|percent| percent / 100.0)
        .ok_or_else(|| wrong(value, "a share from 1% to 100%"))
}

fn percent(text: &str) -> Option<f64> {
    let percent = text.strip_suffix('%')?.trim().parse::<f64>().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

/// `default`, `250`, `5%`: of a sweep.
pub fn sweep_limit(value: &Value) -> Result<SweepLimit, ConfigError> {
    let parsed = match value.text.as_str() {
        "default" => Some(SweepLimit::Default),
        text => {
            percent(text).map(SweepLimit::Percent).or_else(|| text.parse().ok().map(SweepLimit::Accounts))
        }
    };
    parsed.ok_or_else(|| wrong(value, "a number of accounts in 24 hours, or a share such as 1%"))
}

/// `default`, `250`, `5%`, `off`.
pub fn delete_limit(value: &Value) -> Result<DeleteLimit, ConfigError> {
    let parsed = match value.text.as_str() {
        "default" => Some(DeleteLimit::Default),
        "off" => Some(DeleteLimit::Off),
        text => {
            percent(text).map(DeleteLimit::Percent).or_else(|| text.parse().ok().map(DeleteLimit::Accounts))
        }
    };
    parsed.ok_or_else(|| wrong(value, "a number of accounts per hour, a share such as 5%, or off"))
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim().find(|c: char| !c.is_ascii_digit()).unwrap_or(text.trim().len());
    let (number, unit) = text.trim().split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn wrong(value: &Value, expected: &str) -> ConfigError {
    ConfigError(format!("{} is `{}`; it must be {expected}", value.name(), value.text))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    fn resolve(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment =
            Environment::of(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        Config::resolve(&[], &environment, None)
    }

    fn error(pairs: &[(&str, &str)]) -> String {
        resolve(pairs).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn units_are_read() {
        let config = resolve(&[
            ("HEADCOUNT_MAX_BODY", "512KiB"),
            ("HEADCOUNT_INBOX_RETENTION", "7d"),
            ("HEADCOUNT_MAX_DELETE_DELIVERED", "5%"),
            ("HEADCOUNT_REQUIRED_FIELDS", "email, username"),
        ])
        .unwrap();
        assert_eq!(config.body_bytes_max, 512 * 1024);
        assert_eq!(config.inbox_retention_ms, 7 * 86_400_000);
        assert_eq!(config.delete_limit, DeleteLimit::Percent(5.0));
        assert_eq!(config.required_fields, Some(vec!["email".to_owned(), "username".to_owned()]));
    }

    #[test]
    fn what_cannot_be_read_names_the_variable_and_what_it_must_be() {
        for (name, value) in [
            ("HEADCOUNT_MAX_BODY", "huge"),
            ("HEADCOUNT_INBOX_RETENTION", "30"),
            ("HEADCOUNT_MAX_DELETE_DELIVERED", "some"),
            ("HEADCOUNT_RESYNC_SCHEDULE", "at night"),
            ("HEADCOUNT_POLL", "often"),
            ("HEADCOUNT_RATE_SHARE", "0%"),
            ("HEADCOUNT_CONFIRM_AFTER", "60"),
            ("HEADCOUNT_MAX_DELETE", "off"),
            ("HEADCOUNT_SILENCE_AFTER", "long"),
            ("HEADCOUNT_LISTEN", "8787"),
            ("HEADCOUNT_MIGRATE", "maybe"),
            ("HEADCOUNT_LOG_FORMAT", "xml"),
        ] {
            let error = error(&[(name, value)]);
            assert!(error.starts_with(&format!("{name} is `{value}`; it must be ")), "{error}");
        }
    }

    #[test]
    fn the_port_of_the_host_is_taken_unless_there_is_an_address() {
        assert_eq!(resolve(&[("PORT", "3000")]).unwrap().listen.to_string(), "0.0.0.0:3000");
        let both = [("PORT", "3000"), ("HEADCOUNT_LISTEN", "127.0.0.1:1")];
        assert_eq!(resolve(&both).unwrap().listen.to_string(), "127.0.0.1:1");
    }

    #[test]
    fn a_misspelt_variable_is_a_warning_with_the_nearest_one() {
        let warnings = resolve(&[("HEADCOUNT_LISTN", "x"), ("HEADCOUNT_PORT", "1")]).unwrap().warnings;
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("the nearest known variable is HEADCOUNT_LISTEN"), "{warnings:?}");
    }

    #[test]
    fn our_database_variable_comes_before_the_common_one() {
        let both = [("HEADCOUNT_DATABASE_URL", "sqlite://a.db"), ("DATABASE_URL", "sqlite://b.db")];
        assert_eq!(resolve(&both).unwrap().database.redacted(), "sqlite://a.db");
        assert_eq!(resolve(&both[1..]).unwrap().database.redacted(), "sqlite://b.db");
        assert!(resolve(&[]).unwrap().database_is_default);
    }

    #[test]
    fn secrets_are_read_from_files_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let path = file.path().to_str().unwrap();
        let config = resolve(&[("CLERK_WEBHOOK_SIGNING_SECRET_FILE", path)]).unwrap();
        assert_eq!(config.sources[0].webhook_keys.get().len(), 1);
        assert!(config.entries.iter().all(|entry| !entry.value.contains("MfKQ")));
        let missing = error(&[("CLERK_WEBHOOK_SIGNING_SECRET_FILE", "/nonexistent/secret")]);
        assert!(missing.starts_with(
            "CLERK_WEBHOOK_SIGNING_SECRET_FILE names /nonexistent/secret, which cannot be read"
        ));
        let wrong = error(&[("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_***")]);
        assert!(wrong.contains("CLERK_WEBHOOK_SIGNING_SECRET") && !wrong.contains("***"), "{wrong}");
    }

    fn with_file(content: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let environment = Environment::of([("STAFF".to_owned(), "whsec_c2VjcmV0c2VjcmV0".to_owned())].into());
        Config::resolve(&[], &environment, file.path().to_str())
    }

    #[test]
    fn a_misspelt_key_of_the_file_stops_the_start() {
        for (content, expected) in [
            ("listn = \"x\"", "`listn` in "),
            ("listn = \"x\"", "the nearest known key is `listen`"),
            (
                "[sources.staff]\nkind = \"clerk\"\nwebhook_secre_env = \"X\"",
                "nearest known key is `webhook_secret_env`",
            ),
            ("[sources.staff]\nkind = \"clark\"", "the nearest known kind is `clerk`"),
            ("[sources.staff]\nkind = \"clerk\"\nwebhook_secret = \"whsec_x\"", "webhook_secret"),
            ("[sources.staff]\nkind = \"clerk\"\nwebhook_secret_env = \"GONE\"", "GONE, which is not set"),
            ("database_url = \"postgres://me:secret@x/y\"", "database_url_env"),
            ("listen = ", "TOML"),
        ] {
            let error = with_file(content).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected), "{content}: {error}");
            assert!(!error.contains("secret@"), "{error}");
        }
    }

    #[test]
    fn the_api_is_reached_by_https_or_on_loopback() {
        let with = |url: &str| resolve(&[("CLERK_SECRET_KEY", "sk_test_x"), ("CLERK_API_URL", url)]);
        assert_eq!(with("").unwrap().sources[0].api.as_ref().unwrap().url.as_str(), "https://api.clerk.com/");
        for good in ["http://127.0.0.1:1", "http://localhost:1", "https://clerk.example.com"] {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in ["http://clerk.example.com", "clerk", "https://me:hush@x", "ftp://127.0.0.1"] {
            let error = with(bad).err().unwrap().to_string();
            assert!(error.starts_with("CLERK_API_URL must be ") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_column_that_people_fill_themselves_is_a_warning() {
        let table = "[sources.staff]\nkind = \"clerk\"\nwebhook_secret_env = \"STAFF\"\n[users]\ntable = \"people\"\n";
        let warned = |path: &str| {
            let columns = format!("[users.columns]\nemail = \"email\"\n\"{path}\" = \"role\"\n");
            with_file(&format!("{table}{columns}")).unwrap().warnings.iter().any(|text| text.contains(path))
        };
        assert!(warned("unsafe_metadata.role"));
        assert!(!warned("public_metadata.role"));
    }

    #[test]
    fn a_weak_secret_is_a_warning_and_a_prefix_alone_is_an_error() {
        for secret in ["whsec_MQ==", "v1,whsec_MQ=="] {
            let warnings = resolve(&[("CLERK_WEBHOOK_SIGNING_SECRET", secret)]).unwrap().warnings;
            assert!(warnings[0].contains("fewer than 16 bytes"), "{warnings:?}");
        }
        assert!(resolve(&[("SUPABASE_WEBHOOK_SECRET", "changeme")]).unwrap().warnings[0].contains("guesses"));
        let long = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for (variable, text, keys) in [
            ("CLERK_WEBHOOK_SIGNING_SECRET", format!("v1, {long}"), 1),
            ("CLERK_WEBHOOK_SIGNING_SECRET", format!("v1,{long}|v1,{long}"), 2),
            ("SUPABASE_WEBHOOK_SECRET", format!("v1, {long}"), 2),
        ] {
            let config = resolve(&[(variable, &text)]).unwrap();
            assert_eq!(config.sources[0].webhook_keys.get().len(), keys, "{text}");
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        }
        for variable in ["CLERK_WEBHOOK_SIGNING_SECRET", "SUPABASE_WEBHOOK_SECRET"] {
            let error = error(&[(variable, "v1")]);
            assert!(error.contains("`v1` without"), "{error}");
        }
    }

    #[test]
    fn numbers_and_times_within_their_limits_are_taken() {
        for (name, value) in [
            ("HEADCOUNT_DATABASE_CONNECTIONS", "0"),
            ("HEADCOUNT_DATABASE_CONNECTIONS", "many"),
            ("HEADCOUNT_TOLERANCE", "2h"),
            ("HEADCOUNT_TOLERANCE", "0s"),
        ] {
            assert!(
                error(&[(name, value)]).starts_with(&format!("{name} is `{value}`; it must be ")),
                "{name}"
            );
        }
        let config =
            resolve(&[("HEADCOUNT_TOLERANCE", "1h"), ("WORKOS_WEBHOOK_SECRET", "a-secret-of-many-bytes")]);
        assert_eq!(config.unwrap().sources[0].tolerance, Tolerance::Ms(3_600_000));
    }

    #[test]
    fn a_key_that_is_plainly_none_stops_the_start() {
        let wrong = error(&[("CLERK_SECRET_KEY", "pk_test_x")]);
        assert!(wrong.starts_with("CLERK_SECRET_KEY is the publishable key"), "{wrong}");
        let wrong = error(&[("CLERK_SECRET_KEY", "sk_test_…")]);
        assert!(wrong.starts_with("CLERK_SECRET_KEY is no API key"), "{wrong}");
    }

    #[test]
    fn a_second_source_lives_under_its_own_name() {
        let config =
            with_file("[sources.staff]\nkind = \"clerk\"\nwebhook_secret_env = \"STAFF\"\n").unwrap();
        assert_eq!(config.source_names(), ["staff"]);
        assert!(config.sources[0].takes_deliveries() && config.sources[0].api.is_none());
    }

    #[test]
    fn a_source_may_have_limits_of_its_own() {
        let table = "[sources.staff]\nkind = \"clerk\"\nwebhook_secret_env = \"STAFF\"\n";
        let own = "rate_share = \"10%\"\nsilence_after = \"2d\"\nresync_schedule = \"off\"\nmax_delete_delivered = 7\n";
        let config = with_file(&format!("rate_share = \"40%\"\n{table}{own}")).unwrap();
        let (staff, others) = (config.resync_of("staff"), config.resync_of("clerk"));
        assert_eq!((staff.rate_share, others.rate_share), (0.1, 0.4));
        assert_eq!((staff.silence_after_ms, others.silence_after_ms), (2 * 86_400_000, 86_400_000));
        assert!(matches!(staff.schedule, Schedule::Off) && !matches!(others.schedule, Schedule::Off));
        assert_eq!(config.sources[0].delete_limit, Some(DeleteLimit::Accounts(7)));
    }
}
