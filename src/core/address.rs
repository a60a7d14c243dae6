//! When two e-mail addresses are one and the same.
//!
//! Capitals mean nothing in ASCII. Beyond it characters are compared as they are: Unicode has letters that become another
//! one when they are made small, such as the sign for kelvin, and whoever has such an address is somebody else. Of a
//! domain its ASCII form counts, which is the one that is looked up.

/// What is equal for two spellings of one address, and for them alone.
pub fn comparable(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_ascii_lowercase() };
    // A domain that is none is compared as it is.
    let domain = match domain.is_ascii() {
        true => domain.to_owned(),
        false => idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned()),
    };
    format!("{local}@{domain}").to_ascii_lowercase()
}

/// Ways to write a comparable address: with its domain in ASCII, and as people read it.
pub fn spellings(comparable: &str) -> Vec<String> {
    let readable = comparable.rsplit_once('@').and_then(|(local, domain)| {
        let (readable, outcome) = idna::domain_to_unicode(domain);
        (outcome.is_ok() && readable != domain).then(|| format!("{local}@{readable}"))
    });
    std::iter::once(comparable.to_owned()).chain(readable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_capitals_of_ascii_and_the_spelling_of_a_domain_mean_nothing() {
        let same = |a: &str, b: &str| comparable(a) == comparable(b);
        assert!(same("Kim@Corp.com", "kim@corp.COM"));
        assert!(same("kim@bücher.example", "kim@xn--bcher-kva.example"));
        assert!(same("kim@BÜCHER.example", "KIM@bücher.example"));
        for (a, b) in [
            ("\u{212a}im@corp.com", "kim@corp.com"),
            ("ſam@corp.com", "sam@corp.com"),
            ("ÄNN@corp.com", "änn@corp.com"),
            ("kım@corp.com", "kim@corp.com"),
            ("kim@corp.com", "kim@corp.co"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_domain_is_looked_for_in_both_spellings() {
        assert_eq!(
            spellings(&comparable("kim@bücher.example")),
            ["kim@xn--bcher-kva.example", "kim@bücher.example"]
        );
        assert_eq!(spellings("kim@corp.com"), ["kim@corp.com"]);
    }
}
