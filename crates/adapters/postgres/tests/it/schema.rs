//! `src/schema.rs` says what the database is.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::database;

const SCHEMA: &str = include_str!("../../src/schema.rs");

/// `table.column type` and `table (primary, key)`, as the database would write them.
fn declared() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for block in SCHEMA.split("diesel::table! {").skip(1) {
        let block = block.split("\n}\n").next().expect("the end of the table");
        let (head, columns) = block.trim().split_once('{').expect("columns");
        lines.insert(head.trim().to_owned());
        let table = head.split_whitespace().next().expect("a table's name");
        let columns = columns.lines().map(str::trim).filter(|line| line.contains("->"));
        lines.extend(columns.map(|column| declared_column(table, column)));
    }
    lines
}

fn declared_column(table: &str, column: &str) -> String {
    let (name, sql_type) = column.trim_end_matches(',').split_once(" -> ").expect("a name and a type");
    let inner = sql_type.strip_prefix("Nullable<").and_then(|rest| rest.strip_suffix('>'));
    let known = BTreeMap::from([
        ("Array<Cidr>", "_cidr"),
        ("Array<Text>", "_text"),
        ("BigInt", "int8"),
        ("Binary", "bytea"),
        ("Bool", "bool"),
        ("Integer", "int4"),
        ("Jsonb", "jsonb"),
        ("SmallInt", "int2"),
        ("Text", "text"),
        ("Timestamptz", "timestamptz"),
        ("Uuid", "uuid"),
    ]);
    let base = inner.unwrap_or(sql_type);
    let stored = known.get(base).unwrap_or_else(|| panic!("add {base} to this test"));
    format!("{table}.{name} {stored}{}", if inner.is_some() { " null" } else { "" })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_column_type_and_key_is_as_declared() {
    let database = database().await;
    let stored = database.texts(
        "SELECT format('%s.%s %s%s', table_name, column_name, udt_name, CASE is_nullable WHEN 'YES' THEN ' null' END) AS text
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'
         UNION ALL
         SELECT format('%s (%s)', conrelid::regclass, string_agg(attname, ', ' ORDER BY position))
         FROM pg_constraint
         CROSS JOIN unnest(conkey) WITH ORDINALITY AS of_key (number, position)
         JOIN pg_attribute ON attrelid = conrelid AND attnum = of_key.number
         WHERE contype = 'p' AND connamespace = 'public'::regnamespace
             AND conrelid::regclass::text <> '__diesel_schema_migrations'
         GROUP BY conrelid",
    );
    let stored: BTreeSet<_> = stored.await.unwrap().into_iter().collect();
    let declared = declared();
    let missing: Vec<_> = stored.difference(&declared).collect();
    let surplus: Vec<_> = declared.difference(&stored).collect();
    assert!(missing.is_empty(), "not in schema.rs: {missing:#?}");
    assert!(surplus.is_empty(), "only in schema.rs: {surplus:#?}");
    assert!(declared.len() > 60, "{declared:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_declared_in_the_order_of_the_database() {
    let database = database().await;
    let stored = database.texts(
        "SELECT table_name || '.' || column_name AS text FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'
         ORDER BY table_name COLLATE \"C\", ordinal_position",
    );
    let mut tables: Vec<_> = SCHEMA.split("diesel::table! {").skip(1).collect();
    tables.sort_by_key(|block| block.split_whitespace().next());
    let declared: Vec<_> = tables
        .iter()
        .flat_map(|block| {
            let table = block.split_whitespace().next().expect("a table's name");
            let columns =
                block.split("\n}\n").next().expect("the end").lines().filter_map(|line| line.split_once(" -> "));
            columns.map(move |(name, _)| format!("{table}.{}", name.trim())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(declared, stored.await.unwrap());
}
