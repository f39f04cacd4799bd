"""SQL that shards the tables of an index with Citus. NOT RUN ON CITUS: written from its documentation only.

Nothing in Pinyon calls it, because Citus cannot be had where Pinyon is developed. Tests run what plain PostgreSQL can
run of it, with functions in place of those of Citus. It prints a script for an administrator, who tries it on a copy
first:

    python -m pinyon.storage.postgres.schema.citus DATABASE pinyon_1 pinyon_2 --divide pinyon_1 NAMESPACE 64 | psql ...

Tables are distributed by their column ns. So all rows of a namespace are on one node, and a search asks one node. A
namespace that is too large for a node is divided into buckets (buckets.py), each of which is on one node. Citus takes
neither several columns to distribute by nor a generated one, so the number of the bucket is in the column that every
key has already: it costs no room, and statements about other namespaces stay as they are.

The small tables stay on the coordinator as ordinary tables, because every write locks and changes them. docs/scale.md
says what this gives up, docs/notes/postgres.md which statements ask several nodes.
"""

import argparse
from collections.abc import Sequence

from psycopg import sql

from pinyon.storage.postgres.schema.buckets import BITS, MOST

OF_RECORDS = (
    "records",
    "vectors",
    "numbers",
    "postings",
    "sparse_postings",
    "learned_vectors",
    "token_vectors",
    "reembedded",
)
"""Distributed tables with rows of single records, which are in the bucket of the record. `records` is the first: the
others are put beside it."""
OF_NAMESPACES = ("text_languages", "vector_sums", "learned_sums")
"""Distributed tables with rows of a namespace as a whole, under its own number."""
DISTRIBUTED = (*OF_RECORDS, *OF_NAMESPACES)
ON_COORDINATOR = ("state", "namespaces", "reembedding", "notes")
"""Tables that stay as they are. Citus joins them with distributed ones since version 10."""
SETTING = "citus.propagate_set_commands"
"""With `local`, SET LOCAL reaches the nodes that search. The search's settings of HNSW are given that way."""


def script(database: str, schemas: Sequence[str]) -> str:
    """SQL for the coordinator. schemas: of the indexes, such as pinyon_1. A table that is distributed is left out."""
    lines = [f"ALTER DATABASE {_name(database)} SET {SETTING} = 'local';"]
    for schema in schemas:
        for table in DISTRIBUTED:
            name = _text(_name(schema, table))
            beside = _text("none" if table == DISTRIBUTED[0] else _name(schema, DISTRIBUTED[0]))
            lines.append(
                f"SELECT create_distributed_table({name}, 'ns', colocate_with => {beside})"
                f" WHERE NOT EXISTS (SELECT FROM citus_tables WHERE table_name = {name}::regclass);"
            )
    return "\n".join(lines) + "\n"


def division(schema: str, namespace: str, buckets: int) -> str:
    """SQL that divides a namespace into buckets, and its records among them. One that is divided stays as it is.

    For tables that are not distributed yet, because Citus changes no distribution column. It locks the index, so that
    writes wait. The HNSW index of the namespace is removed, and upkeep builds it again after the next write. Raises
    ValueError if there cannot be so many buckets.
    """
    if not 1 < buckets <= MOST:
        raise ValueError(f"a namespace can have 2 to {MOST} buckets, got {buckets}")
    namespaces, records = _name(schema, "namespaces"), _name(schema, "records")
    which = f"name = {_text(namespace)} AND buckets = 1"
    drop = (
        f"BEGIN EXECUTE format('DROP INDEX IF EXISTS %I.vectors_hnsw_%s', {_text(schema)},"
        f" (SELECT ns FROM {namespaces} WHERE {which})); END"
    )
    lines = [
        "BEGIN;",
        f"SELECT lsn FROM {_name(schema, 'state')} FOR UPDATE;",
        f"DO {_text(drop)};",
        f"CREATE TEMPORARY TABLE division ON COMMIT DROP AS SELECT ns, record, {bucket(buckets)} AS bucket"
        f" FROM {records} WHERE ns = (SELECT ns FROM {namespaces} WHERE {which});",
    ]
    for table in reversed(OF_RECORDS):
        lines.append(
            f"UPDATE {_name(schema, table)} AS t SET ns = bucket FROM division"
            " WHERE t.ns = division.ns AND t.record = division.record AND bucket <> division.ns;"
        )
    lines += [f"UPDATE {namespaces} SET buckets = {buckets} WHERE {which};", "COMMIT;"]
    return "\n".join(lines) + "\n"


def bucket(buckets: int) -> str:
    """The number of the bucket of a row of `records` in a namespace that is not divided yet: Namespace.bucket()."""
    digest = "sha256(convert_to(id, 'UTF8'))"
    place = f"(get_byte({digest}, 0) * 256 + get_byte({digest}, 1)) % {buckets}"
    return f"CASE {place} WHEN 0 THEN ns ELSE -(ns << {BITS} | {place}) END"


def _name(*parts: str) -> str:
    return sql.Identifier(*parts).as_string()


def _text(value: str) -> str:
    return sql.Literal(value).as_string()


def main() -> None:
    """Print the script."""
    parser = argparse.ArgumentParser(description="Print SQL that shards indexes with Citus. Not run on Citus: try it.")
    parser.add_argument("database")
    parser.add_argument("schemas", nargs="+", metavar="SCHEMA", help="of an index, such as pinyon_1")
    parser.add_argument(
        "--divide",
        nargs=3,
        action="append",
        default=[],
        metavar=("SCHEMA", "NAMESPACE", "BUCKETS"),
        help="put this namespace on many nodes: several times as many buckets as shards",
    )
    options = parser.parse_args()
    print("-- NOT RUN ON CITUS by Pinyon's tests: written from its documentation. Try it on a copy.")
    for schema, namespace, buckets in options.divide:
        print(division(schema, namespace, int(buckets)), end="")
    print(script(options.database, options.schemas), end="")


if __name__ == "__main__":
    main()
