//! URLs as they are handed out, and as people write them.

use super::*;

fn read_back(text: &str) -> (String, String, String, String) {
    let (url, _) = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let part = |text: &str| decoded(text);
    let host = url.host_str().unwrap_or_default().to_owned();
    (
        part(url.username()),
        part(url.password().unwrap_or_default()),
        host,
        part(url.path().trim_start_matches('/')),
    )
}

fn refused(text: &str) -> String {
    parse(text).map_or_else(|error| error.to_string(), |(url, _)| panic!("{text} was read as {url}"))
}

#[test]
fn a_password_is_what_stands_there_whoever_has_encoded_it() {
    for (written, password) in [
        ("secret", "secret"),
        ("se%2Fcret", "se/cret"),
        ("1#secret", "1#secret"),
        ("7/secret", "7/secret"),
        ("a?b", "a?b"),
        ("p@ss", "p@ss"),
        ("p@ss/w?rd#1", "p@ss/w?rd#1"),
        ("50%off", "50%off"),
        ("a:b", "a:b"),
        ("[x]", "[x]"),
        ("pa$$word", "pa$$word"),
        ("%C3%A9", "é"),
    ] {
        let expected = ("me".to_owned(), password.to_owned(), "db.example.com".to_owned(), "app".to_owned());
        assert_eq!(
            read_back(&format!("postgres://me:{written}@db.example.com:5432/app")),
            expected,
            "{written}"
        );
        let with_parameters = format!("postgresql://me:{written}@db.example.com/app?sslmode=require&x=y");
        assert_eq!(read_back(&with_parameters), expected, "{with_parameters}");
    }
}

#[test]
fn an_at_in_a_parameter_is_no_password() {
    let (user, password, host, database) = read_back("postgres://me@h/db?application_name=a@b");
    assert_eq!((&*user, &*password, &*host, &*database), ("me", "", "h", "db"));
    assert_eq!(read_back("postgres://h/db?application_name=a@b").2, "h");
}

#[test]
fn sockets_and_addresses_are_read() {
    let query = |text: &str| parse(text).unwrap().0.query().unwrap_or_default().to_owned();
    let cloud = "host=%2Fcloudsql%2Fproject%3Aregion%3Ainstance";
    assert_eq!(query("postgres://me:pw@/app?host=/cloudsql/project:region:instance"), cloud);
    assert_eq!(query("postgres://me:pw@%2Fcloudsql%2Fproject%3Aregion%3Ainstance/app"), cloud);
    assert_eq!(read_back("postgres://me:pw@[::1]:5433/app").2, "[::1]");
    assert_eq!(parse("postgres://me@[::1]:5433/app").unwrap().0.port(), Some(5433));
    assert_eq!(read_back("postgresql:///app"), (String::new(), String::new(), String::new(), "app".into()));
    assert_eq!(parse("postgres://h:6543").unwrap().0.as_str(), "postgres://h:6543");
}

#[test]
fn other_tools_parameters_are_passed_over_and_none_of_them_weakens_anything() {
    let (url, notes) =
        parse("postgresql://me:secret@db.example:6543/app?pgbouncer=true&sslmode=require&schema=x").unwrap();
    assert_eq!(url.query(), Some("sslmode=require"));
    assert!(notes.is_empty());
    let (url, notes) =
        parse("postgres://me:s@ep-1.neon.tech/db?sslmode=require&channel_binding=require").unwrap();
    assert_eq!(url.query(), Some("sslmode=verify-full"));
    assert!(notes[0].contains("channel_binding=require"), "{notes:?}");
    assert!(parse("postgres://h/db?channel_binding=prefer").unwrap().1.is_empty());
    let (url, _) = parse("postgres://h/db?sslrootcert=system").unwrap();
    assert!(url.query().unwrap().starts_with("sslmode=verify-full"), "{url}");
    assert_eq!(decoded(parse("postgres://me@h/db?password=p%40ss").unwrap().0.password().unwrap()), "p@ss");
}

#[test]
fn what_cannot_be_read_names_its_part_and_no_password() {
    for (text, part) in [
        ("postgres:secret", "scheme"),
        ("postgres://me:secret@a,b/db", "several hosts"),
        ("postgres://me:secret@h:0x1/db", "port"),
        ("postgres://me:secret@h:99999/db", "port"),
        ("postgres://me:secret@[::1/db", "no `]`"),
        ("postgres://me:secret@[x]/db", "IPv6"),
        ("postgres://me:secret@h h/db", "host"),
        ("postgres://me:secret@h/db?sslmode=on", "sslmode"),
        ("postgres://me:secret@h/db?sslrootcert=/nowhere/ca.pem", "sslrootcert"),
        ("postgres://me:secret@h/db?x", "parameter that is not NAME=VALUE"),
        ("postgres://me:secret@/db?host=a,b", "several hosts"),
    ] {
        let error = refused(text);
        assert!(error.contains(part) && !error.contains("secret"), "{text}: {error}");
    }
}
