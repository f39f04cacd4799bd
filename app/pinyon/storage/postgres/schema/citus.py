"""SQL that shards the tables of an index by namespace with Citus. NOT RUN: written from Citus' documentation only.

Nothing in Pinyon calls it, and no test runs it, because Citus cannot be had where Pinyon is developed. It prints a
script for an administrator, who tries it on a copy first:

    python -m pinyon.storage.postgres.schema.citus DATABASE pinyon_1 pinyon_2 | psql ...

All rows of a namespace are on one node, so that a search asks one node. The small tables stay on the coordinator as
ordinary tables, because every write locks and changes them. docs/scale.md says what this gives up and what is unknown.
"""

import sys
from collections.abc import Sequence

from psycopg import sql

DISTRIBUTED = (
    "records",
    "vectors",
    "numbers",
    "postings",
    "text_languages",
    "sparse_postings",
    "vector_sums",
    "learned_vectors",
    "learned_sums",
    "token_vectors",
    "reembedded",
)
"""Tables that are distributed by their column ns, which all their keys contain. `records` is the first: the others are
put beside it."""
ON_COORDINATOR = ("state", "namespaces", "reembedding", "notes")
"""Tables that stay as they are. Citus joins them with distributed ones since version 10."""
SETTING = "citus.propagate_set_commands"
"""With `local`, SET LOCAL reaches the nodes that search. The search's settings of HNSW are given that way."""


def script(database: str, schemas: Sequence[str]) -> str:
    """SQL for the coordinator. schemas: of the indexes, such as pinyon_1. A table that is distributed is left out."""
    lines = [f"ALTER DATABASE {sql.Identifier(database).as_string()} SET {SETTING} = 'local';"]
    for schema in schemas:
        first = sql.Identifier(schema, DISTRIBUTED[0]).as_string()
        for table in DISTRIBUTED:
            name = sql.Identifier(schema, table).as_string()
            beside = "none" if table == DISTRIBUTED[0] else first
            lines.append(
                f"SELECT create_distributed_table({_text(name)}, 'ns', colocate_with => {_text(beside)})"
                f" WHERE NOT EXISTS (SELECT FROM citus_tables WHERE table_name = {_text(name)}::regclass);"
            )
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return sql.Literal(value).as_string()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python -m pinyon.storage.postgres.schema.citus DATABASE SCHEMA...")
    print("-- NOT RUN by Pinyon's tests: written from the documentation of Citus. Try it on a copy.")
    print(script(sys.argv[1], sys.argv[2:]), end="")
