//! The official libraries' vectors, and what they let pass and should not.

use super::*;
use serde_json::Value;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW_SECONDS: i64 = 1_763_877_506;

fn now() -> Timestamp {
    Timestamp::clamped(NOW_SECONDS * 1000)
}

fn signed(id: &str, timestamp: &str, signature: &str) -> SignedHeaders {
    let scheme = Scheme::Standard;
    SignedHeaders { scheme, id: id.into(), timestamp: timestamp.into(), signature: signature.into() }
}

fn check(timestamp: &str, signature: &str) -> Result<(), Refused> {
    let keys = [SigningKey::parse(SECRET).unwrap()];
    signed("msg_1", timestamp, signature).verify(&keys, b"{}", now()).map(|_| ())
}

fn sign_at(seconds: i64) -> String {
    let at = Timestamp::clamped(seconds * 1000);
    SigningKey::parse(SECRET).unwrap().sign("msg_1", at, b"{}").signature
}

fn good() -> String {
    sign_at(NOW_SECONDS)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().unwrap());
    }
    map
}

/// The vectors of several official libraries, generated and hard-coded ones alike.
#[test]
fn official_vectors_are_accepted() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/signatures.json")).unwrap();
    let mut count = 0;
    for group in ["hard_coded_in_library_tests", "generated"] {
        for vector in vectors[group].as_array().unwrap() {
            let text = |key: &str| vector[key].as_str().unwrap();
            let seconds = vector["timestamp"].as_i64().unwrap();
            let at = Timestamp::clamped(seconds * 1000);
            let given = signed(text("id"), &seconds.to_string(), text("signature"));
            let body = text("body").as_bytes();
            let key = SigningKey::parse(text("secret")).unwrap();
            assert_eq!(given.verify(&[key], body, at), Ok(at), "{vector}");
            if let Some(old) = vector["old_secret"].as_str() {
                let key = SigningKey::parse(old).unwrap();
                assert_eq!(given.verify(&[key], body, at), Ok(at), "{vector}");
            }
            let other = SigningKey::parse("whsec_AAAA").unwrap();
            assert_eq!(given.verify(&[other], body, at), Err(Refused::NoMatch));
            count += 1;
        }
    }
    assert_eq!(count, 9);
}

#[test]
fn asymmetric_signatures_are_passed_over() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/signatures.json")).unwrap();
    for vector in vectors["v1a"].as_array().unwrap() {
        let v1a = vector["signature"].as_str().unwrap();
        let now = NOW_SECONDS.to_string();
        assert_eq!(check(&now, v1a), Err(Refused::NoMatch));
        assert_eq!(check(&now, &format!("{v1a} {}", good())), Ok(()));
    }
}

/// The cases that the official libraries refuse, and those that they accept and should not.
#[test]
fn negative_vectors() {
    for (offset, expected) in [
        (0, Ok(())),
        (-300, Ok(())),
        (-301, Err(Refused::TooOld)),
        (300, Ok(())),
        (302, Err(Refused::TooNew)),
    ] {
        let seconds = NOW_SECONDS + offset;
        assert_eq!(check(&seconds.to_string(), &sign_at(seconds)), expected, "{offset}");
    }
    for odd in ["1763abc", "1763877506abc", "-5", "+1763877506", "", "1763877506.0", "99999999999999999999"] {
        assert_eq!(check(odd, &good()), Err(Refused::BadHeaders), "{odd}");
    }
    assert_eq!(SigningKey::parse("v1,whsec_AAAA").err(), Some(KeyError::NotBase64));
    assert_eq!(SigningKey::parse("whsec_").err(), Some(KeyError::Empty));
}

#[test]
fn empty_and_truncated_signatures_match_nothing() {
    let now = NOW_SECONDS.to_string();
    let good = good();
    let mut short = vec!["", "v1", "v1,", ",", " ", "v2,AAAA"];
    short.extend((3..good.len() - 1).map(|end| &good[..end]));
    for signature in short {
        assert_eq!(check(&now, signature), Err(Refused::NoMatch), "{signature}");
    }
    let longer = format!("{}AAAA", good.trim_end_matches('='));
    assert_eq!(check(&now, &longer), Err(Refused::NoMatch));
    assert_eq!(check(&now, &format!("v1,AAAA {good}")), Ok(()));
}

#[test]
fn an_id_with_a_dot_could_move_the_border_between_id_and_time() {
    let key = SigningKey::parse(SECRET).unwrap();
    let seconds = NOW_SECONDS.to_string();
    let dotted = format!("msg.{seconds}");
    let signature = key.sign(&dotted, now(), b"{}").signature;
    let result = signed(&dotted, &seconds, &signature).verify(&[key], b"{}", now());
    assert_eq!(result, Err(Refused::BadHeaders));
}

fn read(headers: &HeaderMap) -> Result<SignedHeaders, Refused> {
    SignedHeaders::read(headers, &[SigningKey::parse(SECRET).unwrap()])
}

#[test]
fn header_sets_are_whole_unmixed_and_unrepeated() {
    let whole = [("svix-id", "a"), ("svix-timestamp", "1"), ("svix-signature", "v1,x")];
    assert_eq!(read(&headers(&whole)).unwrap().id, "a");
    let standard = [("webhook-id", "b"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,x")];
    assert_eq!(read(&headers(&standard)).unwrap().id, "b");
    let mixed = [("svix-id", "a"), ("webhook-timestamp", "1"), ("svix-signature", "v1,x")];
    assert_eq!(read(&headers(&mixed)), Err(Refused::MissingHeaders));
    assert_eq!(read(&headers(&[])), Err(Refused::MissingHeaders));
    for name in ["svix-id", "svix-timestamp", "svix-signature"] {
        let mut repeated = whole.to_vec();
        repeated.push((name, "1"));
        assert_eq!(read(&headers(&repeated)), Err(Refused::BadHeaders));
    }
}

#[test]
fn any_of_several_keys_may_have_signed() {
    let keys = ["whsec_AAAA", SECRET].map(|text| SigningKey::parse(text).unwrap());
    let given = signed("msg_1", &NOW_SECONDS.to_string(), &good());
    assert!(given.verify(&keys, b"{}", now()).is_ok());
    assert_eq!(given.verify(&[], b"{}", now()), Err(Refused::NoMatch));
    assert_eq!(given.verify(&keys, b"{ }", now()), Err(Refused::NoMatch));
}

#[test]
fn the_vectors_of_workos_are_accepted() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/signatures.json")).unwrap();
    let mut count = 0;
    for vector in vectors["workos"].as_array().unwrap() {
        let text = |key: &str| vector[key].as_str().unwrap();
        let key = SigningKey::plain(Scheme::Timed, text("secret")).unwrap();
        let given = SignedHeaders::read(
            &headers(&[("workos-signature", text("header"))]),
            std::slice::from_ref(&key),
        );
        let given = given.unwrap();
        let sent = given.sent_at().unwrap();
        let at = |offset_ms: i64| Timestamp::clamped(sent.ms() + offset_ms);
        let body = text("body").as_bytes();
        let check = |now| given.verify(std::slice::from_ref(&key), body, now);
        assert_eq!(check(sent), Ok(sent), "{vector}");
        assert_eq!(check(at(180_000)), Ok(sent));
        assert_eq!(check(at(180_001)), Err(Refused::TooOld));
        assert_eq!(check(at(-180_001)), Err(Refused::TooNew), "the SDK takes a time of the future");
        let again = key.sign("", sent, body);
        assert_eq!(again.lines(), given.lines());
        assert_eq!(
            given.verify(&[SigningKey::plain(Scheme::Timed, "other").unwrap()], body, sent),
            Err(Refused::NoMatch)
        );
        assert_eq!(given.verify(std::slice::from_ref(&key), b"{}", sent), Err(Refused::NoMatch));
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn odd_headers_of_workos_match_nothing() {
    let key = SigningKey::plain(Scheme::Timed, "secret").unwrap();
    let signature = key.sign("", now(), b"{}").signature;
    let ms = now().ms();
    let check = |line: &str| {
        SignedHeaders::read(&headers(&[("workos-signature", line)]), std::slice::from_ref(&key))
            .and_then(|given| given.verify(std::slice::from_ref(&key), b"{}", now()))
            .map(|_| ())
    };
    assert_eq!(check(&format!("t={ms}, v1={signature}")), Ok(()));
    assert_eq!(check(&format!("t={ms},v1={signature}")), Ok(()));
    assert_eq!(check(&format!("t={ms}, v1=00, v1={signature}")), Ok(()), "a secret that is rotated");
    for (line, refused) in [
        (format!("t={ms}"), Refused::NoMatch),
        (format!("v1={signature}"), Refused::BadHeaders),
        (format!("t={ms}, t={ms}, v1={signature}"), Refused::BadHeaders),
        (format!("t=-{ms}, v1={signature}"), Refused::BadHeaders),
        (format!("t={}, v1={signature}", ms / 1000), Refused::TooOld),
        (format!("t={}, v1={signature}", ms * 1000), Refused::TooNew),
        (format!("t={ms}, v1={}", &signature[..62]), Refused::NoMatch),
        (format!("t={ms}, v0={signature}"), Refused::NoMatch),
        ("nonsense".to_owned(), Refused::BadHeaders),
    ] {
        assert_eq!(check(&line), Err(refused), "{line}");
    }
}

#[test]
fn a_bearer_is_believed_and_never_kept() {
    let keys = ["old secret", "new secret"].map(|text| SigningKey::plain(Scheme::Bearer, text).unwrap());
    let read = |line: &str| SignedHeaders::read(&headers(&[("authorization", line)]), &keys);
    for line in ["Bearer new secret", "bearer old secret", "BEARER  old secret"] {
        let given = read(line).unwrap();
        assert!(!format!("{given:?}").contains("secret\""), "{given:?}");
        assert_eq!(given.verify(&keys, b"anything", now()), Ok(now()), "{line}");
    }
    for line in ["Bearer new secre", "Bearer new secrett", "Bearer NEW SECRET"] {
        assert_eq!(read(line).unwrap().verify(&keys, b"", now()), Err(Refused::NoMatch), "{line}");
    }
    for line in ["Basic new secret", "Bearer", "Bearer ", "new secret"] {
        assert_eq!(read(line), Err(Refused::BadHeaders), "{line}");
    }
    assert_eq!(SignedHeaders::read(&headers(&[]), &keys), Err(Refused::MissingHeaders));
    // A key of another scheme is no key.
    let other = [SigningKey::plain(Scheme::Timed, "old secret").unwrap()];
    assert_eq!(read("Bearer old secret").unwrap().verify(&other, b"", now()), Err(Refused::NoMatch));
}
