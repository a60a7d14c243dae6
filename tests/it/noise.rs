//! Bodies and headers that no provider would send: nothing of them makes headcount panic, and none of them passes.

use headcount::core::layout::Layout;
use headcount::core::timestamp::Timestamp;
use headcount::source::signature::{Scheme, SignedHeaders, SigningKey};
use headcount::source::{KINDS, provider};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_a_provider_panic(body in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for provider in KINDS.iter().filter_map(|kind| provider(kind)) {
            for text in [body.clone(), String::from_utf8_lossy(&bytes).into_owned()] {
                let wrapped = format!("{{\"type\":\"user.updated\",\"data\":{{\"id\":{text:?},\"updated_at\":1,\"email_addresses\":{text:?}}}}}");
                for text in [text, wrapped] {
                    provider.glance(&text);
                    let _ = provider.kept(&text, headcount::core::timestamp::Timestamp::clamped(0), &provider.keeps());
                    let _ = provider.normalize("x", &text, &Layout::default());
                    provider.recall(1, text, &Layout::default());
                }
            }
        }
    }

    #[test]
    fn no_header_makes_verification_panic_or_pass(id in any::<String>(), timestamp in any::<String>(), signature in any::<String>()) {
        for scheme in [Scheme::Standard, Scheme::Timed, Scheme::Bearer] {
            let key = SigningKey::read(scheme, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
            let (id, timestamp, signature) = (id.clone(), timestamp.clone(), signature.clone());
            let headers = SignedHeaders { scheme, id, timestamp, signature };
            let passes = headers.verify(&[key], b"{}", Timestamp::clamped(0)).is_ok();
            prop_assert!(!passes);
        }
    }
}

#[test]
fn every_kind_finds_its_provider() {
    for kind in KINDS {
        assert_eq!(provider(kind).map(|found| found.kind()), Some(kind));
    }
    assert!(provider("nobody").is_none());
}
