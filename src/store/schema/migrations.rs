//! The numbered steps of the schema: append only.

/// One numbered step of the schema; append-only.
pub(in crate::store) struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub postgres: &'static str,
    pub sqlite: &'static str,
    /// The lowest schema version that a headcount must know to work on this one.
    pub oldest_reader: i64,
}

/// The names of headcount's tables, without schema or prefix.
pub fn own_table_names() -> Vec<&'static str> {
    let created = MIGRATIONS.iter().flat_map(|migration| migration.sqlite.lines());
    let names = created.filter_map(|line| line.strip_prefix("CREATE TABLE headcount_")?.split(' ').next());
    let mut names: Vec<&str> = names.chain(["migrations"]).collect();
    names.sort_unstable();
    names
}

pub(in crate::store) const MIGRATIONS: [Migration; 12] = [
    Migration {
        version: 1,
        name: "tables",
        postgres: include_str!("../../../migrations/postgres/0001_tables.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0001_tables.sql"),
        oldest_reader: 1,
    },
    Migration {
        version: 2,
        name: "resync",
        postgres: include_str!("../../../migrations/postgres/0002_resync.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0002_resync.sql"),
        oldest_reader: 1,
    },
    Migration {
        version: 3,
        name: "adopt",
        postgres: include_str!("../../../migrations/postgres/0003_adopt.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0003_adopt.sql"),
        oldest_reader: 1,
    },
    Migration {
        version: 4,
        name: "calls",
        postgres: include_str!("../../../migrations/postgres/0004_calls.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0004_calls.sql"),
        // Whoever does not know the hashes of erased accounts would make their users anew.
        oldest_reader: 4,
    },
    Migration {
        version: 5,
        name: "sources",
        postgres: include_str!("../../../migrations/postgres/0005_sources.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0005_sources.sql"),
        // Whoever does not know soft deletions would take them for tombstones, and read a retired source.
        oldest_reader: 5,
    },
    Migration {
        version: 6,
        name: "speed",
        postgres: include_str!("../../../migrations/postgres/0006_speed.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0006_speed.sql"),
        oldest_reader: 5,
    },
    Migration {
        version: 7,
        name: "in place",
        postgres: include_str!("../../../migrations/postgres/0007_in_place.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0007_in_place.sql"),
        oldest_reader: 5,
    },
    Migration {
        version: 8,
        name: "once",
        postgres: include_str!("../../../migrations/postgres/0008_once.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0008_once.sql"),
        // Whoever writes the inbox as one table would find a view.
        oldest_reader: 8,
    },
    Migration {
        version: 9,
        name: "proven",
        postgres: include_str!("../../../migrations/postgres/0009_proven.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0009_proven.sql"),
        oldest_reader: 8,
    },
    Migration {
        version: 10,
        name: "read back",
        postgres: include_str!("../../../migrations/postgres/0010_read_back.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0010_read_back.sql"),
        oldest_reader: 8,
    },
    Migration {
        version: 11,
        name: "addresses",
        postgres: include_str!("../../../migrations/postgres/0011_addresses.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0011_addresses.sql"),
        // Whoever does not know what an account waits for would make its user.
        oldest_reader: 11,
    },
    Migration {
        version: 12,
        name: "switches",
        postgres: include_str!("../../../migrations/postgres/0012_switches.sql"),
        sqlite: include_str!("../../../migrations/sqlite/0012_switches.sql"),
        // Whoever does not know of a switch would write the former source's word again.
        oldest_reader: 12,
    },
];
