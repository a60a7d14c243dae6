//! What a simulator is told at its start.

use super::faults::Faults;
use super::kind::Kind;
use super::people::Mix;
use url::Url;

/// A public key, of a development instance: it opens nothing but a simulator.
pub const SECRET_KEY: &str = "sk_test_simulated";
/// The public secret that a simulator's deliveries are signed with unless it is told another.
pub const WEBHOOK_SECRET: &str = "whsec_c2ltdWxhdGVkIHdlYmhvb2sgc2VjcmV0IDAwMDE=";
pub const INSTANCE: &str = "ins_simulated";

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Options {
    pub kind: Kind,
    /// Users that there are at the beginning.
    pub users: u64,
    /// The same seed gives the same people, changes and faults.
    pub seed: u64,
    /// Changes in a second, once traffic is on.
    pub changes_per_second: f64,
    pub mix: Mix,
    pub secret_key: String,
    pub instance: String,
    /// Requests in ten seconds; `None` for the limit of the key's kind, zero for none at all.
    pub limit: Option<u32>,
    pub webhook_secret: String,
    /// Where deliveries go; `None` for nowhere.
    pub deliver_to: Option<Url>,
    /// The retry schedule runs so many times faster.
    pub time_compression: f64,
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: Kind::Clerk,
            users: 100,
            seed: 1,
            changes_per_second: 0.0,
            mix: Mix::default(),
            secret_key: SECRET_KEY.to_owned(),
            instance: INSTANCE.to_owned(),
            limit: None,
            webhook_secret: WEBHOOK_SECRET.to_owned(),
            deliver_to: None,
            time_compression: 1.0,
            faults: Faults::default(),
        }
    }
}
