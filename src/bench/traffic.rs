//! The deliveries of a benchmark: signed beforehand, each with its own message id, each a change of its account.

use super::load::Requests;
use crate::core::timestamp::Timestamp;
use crate::source::signature::SigningKey;
use std::sync::atomic::{AtomicU64, Ordering};

/// About 2 kB, the size of a user with one address and one connected account.
const TEMPLATE: &str = include_str!("delivery.json");
/// The version of delivery 0, in milliseconds since 1970; each further one is a millisecond newer.
const FIRST_VERSION_MS: i64 = 1_767_225_610_000;

/// A part of the body: text, and what follows it.
struct Piece {
    text: &'static str,
    then: Option<Slot>,
}

#[derive(Clone, Copy)]
enum Slot {
    Account,
    Number,
    Version,
    Created,
}

/// Deliveries one after the other are about accounts this far apart, so that a batch is spread over the whole table. A prime.
const STRIDE: u64 = 1_000_003;

/// Numbered deliveries. Each says that its account has the number for a last name; `accounts` in a row are about all of them.
pub struct Traffic {
    key: SigningKey,
    pieces: Vec<Piece>,
    /// Tells the message ids of one benchmark from those of another on the same database.
    run: String,
    accounts: u64,
    next: AtomicU64,
    signed_at: Timestamp,
    signed_from: u64,
    signatures: Vec<String>,
}

impl Traffic {
    /// From delivery `first` on.
    pub fn new(key: SigningKey, run: &str, accounts: u64, first: u64) -> Self {
        Self {
            key,
            pieces: pieces(TEMPLATE.trim_end()),
            run: run.to_owned(),
            // A multiple of the stride would leave nearly all of them out.
            accounts: if accounts.is_multiple_of(STRIDE) { accounts + 1 } else { accounts },
            next: AtomicU64::new(first),
            signed_at: Timestamp::clamped(0),
            signed_from: first,
            signatures: Vec::new(),
        }
    }

    /// Signs the next `count` deliveries at `now`, so that signing takes nothing from what is measured.
    pub fn sign(&mut self, count: u64, now: Timestamp) {
        self.signed_at = now;
        self.signed_from = self.sent();
        *self.next.get_mut() = self.signed_from;
        let mut body = Vec::new();
        let mut signatures = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for number in self.signed_from..self.signed_from + count {
            body.clear();
            self.body(number, &mut body);
            let id = self.message_id(number);
            signatures.push(self.key.sign(&id, now, &body).signature);
        }
        self.signatures = signatures;
    }

    /// A body.
    pub fn sample(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.body(0, &mut body);
        body
    }

    /// The number behind the last one that was given out.
    pub fn sent(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(self.signed_from + self.signatures.len() as u64)
    }

    /// What each account's last name is once all that was sent is applied; of those that anything was sent of since the last
    /// signing.
    pub fn outcome(&self) -> impl Iterator<Item = (String, String)> {
        let sent = self.sent();
        let newest = self.signed_from.max(sent.saturating_sub(self.accounts))..sent;
        newest.map(|number| (Self::provider_id(self.account_of(number)), Self::last_name(number)))
    }

    /// The account that delivery `number` is about.
    pub fn account_of(&self, number: u64) -> u64 {
        number * (STRIDE % self.accounts) % self.accounts
    }

    pub fn provider_id(account: u64) -> String {
        format!("user_bench{account:08}")
    }

    /// What the account's last name is after delivery `number`.
    pub fn last_name(number: u64) -> String {
        format!("{number:09}")
    }

    fn message_id(&self, number: u64) -> String {
        format!("msg_{}_{number}", self.run)
    }

    fn body(&self, number: u64, out: &mut Vec<u8>) {
        let account = self.account_of(number);
        for piece in &self.pieces {
            out.extend_from_slice(piece.text.as_bytes());
            let value = match piece.then {
                Some(Slot::Account) => format!("{account:08}"),
                Some(Slot::Number) => Self::last_name(number),
                Some(Slot::Version) => (FIRST_VERSION_MS + number.cast_signed()).to_string(),
                Some(Slot::Created) => (FIRST_VERSION_MS - 1 - account.cast_signed()).to_string(),
                None => continue,
            };
            out.extend_from_slice(value.as_bytes());
        }
    }
}

impl Requests for Traffic {
    fn next_index(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.signed_from + self.signatures.len() as u64).then_some(number)
    }

    fn write(&self, number: u64, body: &mut Vec<u8>, out: &mut Vec<u8>) {
        body.clear();
        self.body(number, body);
        let signature = &self.signatures[usize::try_from(number - self.signed_from).unwrap_or(usize::MAX)];
        let (id, seconds, length) = (self.message_id(number), self.signed_at.seconds(), body.len());
        out.extend_from_slice(
            format!(
                "svix-id: {id}\r\nsvix-timestamp: {seconds}\r\nsvix-signature: {signature}\r\ncontent-length: {length}\r\n\r\n"
            )
            .as_bytes(),
        );
        out.extend_from_slice(body);
    }
}

fn pieces(template: &'static str) -> Vec<Piece> {
    let slots = [
        ("<account>", Slot::Account),
        ("<number>", Slot::Number),
        ("\"<version>\"", Slot::Version),
        ("\"<created>\"", Slot::Created),
    ];
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some((at, name, slot)) = slots
        .iter()
        .filter_map(|(name, slot)| Some((rest.find(name)?, *name, *slot)))
        .min_by_key(|(at, ..)| *at)
    {
        pieces.push(Piece { text: &rest[..at], then: Some(slot) });
        rest = &rest[at + name.len()..];
    }
    pieces.push(Piece { text: rest, then: None });
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::layout::Layout;
    use crate::source::Provider;
    use crate::source::clerk::Clerk;
    use crate::source::signature::SignedHeaders;

    #[test]
    fn each_delivery_is_signed_and_says_its_number() {
        let key = SigningKey::parse("whsec_c2VjcmV0").unwrap();
        let now = Timestamp::clamped(1_790_000_000_000);
        let mut traffic = Traffic::new(key.clone(), "r", 3, 0);
        traffic.sign(4, now);
        for number in 0..4 {
            assert_eq!(traffic.next_index(), Some(number));
            let (mut body, mut out) = (Vec::new(), Vec::new());
            traffic.write(number, &mut body, &mut out);
            let text = String::from_utf8(out).unwrap();
            let (head, sent) = text.split_once("\r\n\r\n").unwrap();
            let lines: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
            let headers = SignedHeaders::of_lines(&lines).unwrap();
            headers.verify(std::slice::from_ref(&key), sent.as_bytes(), now).unwrap();
            let event = Clerk.normalize("clerk", sent, &Layout::default()).unwrap();
            assert_eq!(event.key.provider_id, Traffic::provider_id(number % 3));
        }
        assert_eq!(traffic.next_index(), None);
        let last: Vec<(String, String)> = traffic.outcome().collect();
        assert_eq!(
            last.iter().map(|(_, name)| &**name).collect::<Vec<_>>(),
            ["000000001", "000000002", "000000003"]
        );
        traffic.sign(1, now);
        assert_eq!(traffic.next_index(), Some(4));
        assert_eq!(traffic.outcome().collect::<Vec<_>>(), [(Traffic::provider_id(1), Traffic::last_name(4))]);
    }
}
