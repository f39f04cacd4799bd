"""How PostgreSQL joins the tables of a namespace for a filter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pinyon.storage.postgres.connection.database import Connection
from pinyon.storage.postgres.schema.buckets import Namespace

SMALL = 20_000
"""Records under which the tables of a namespace are joined as a whole, in milliseconds."""


@asynccontextmanager
async def filtering(connection: Connection, ns: Namespace) -> AsyncIterator[None]:
    """Around statements with a filter: PostgreSQL joins the tables of a small or a new namespace as a whole.

    Until it has counted what was stored a moment ago (ANALYZE), it expects a few rows, and would compare each row of
    one table with every row of another: a search among 2,000 new records took longer than 30 s. In a large namespace
    whose records are counted, it is faster to look up single rows.
    """
    await connection.execute(
        f"SELECT set_config('enable_nestloop', CASE WHEN record_count < {SMALL}"
        " OR 2 * pg_stat_get_mod_since_analyze('records'::regclass) > record_count THEN 'off' ELSE 'on' END, true)"
        f" FROM namespaces WHERE ns = {ns.number}"
    )
    yield
    await connection.execute("SET LOCAL enable_nestloop = on")  # after an error, the rollback does it
