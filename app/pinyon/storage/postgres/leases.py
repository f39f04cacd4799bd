"""Leases: who may do a job, until when, by the clock of the database. Plain functions on a connection."""

from pinyon.domain import Lease
from pinyon.errors import LeaseLost
from pinyon.storage.postgres.connection.database import Connection


async def take(connection: Connection, lease: Lease, seconds: float) -> bool:
    """Take or renew a lease. False while another owner has it."""
    cursor = await connection.execute(
        "INSERT INTO leases (name, owner, until) VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s))"
        " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until"
        " WHERE leases.owner = excluded.owner OR leases.until <= clock_timestamp()",
        (lease.name, lease.owner, seconds),
    )
    return cursor.rowcount > 0


async def check(connection: Connection, lease: Lease) -> None:
    """Keep others from taking the lease before this transaction ends. Raises LeaseLost unless the owner has it."""
    cursor = await connection.execute(
        "SELECT FROM leases WHERE name = %s AND owner = %s AND until > clock_timestamp() FOR SHARE",
        (lease.name, lease.owner),
    )
    if not cursor.rowcount:
        raise LeaseLost(f"The lease {lease.name} has expired")


async def release(connection: Connection, lease: Lease) -> None:
    """End a lease. Another owner's lease is left alone."""
    await connection.execute("DELETE FROM leases WHERE name = %s AND owner = %s", (lease.name, lease.owner))


async def expired(connection: Connection, prefix: str) -> list[str]:
    """Names with this prefix of leases that expired and were not released."""
    cursor = await connection.execute(
        "SELECT name FROM leases WHERE starts_with(name, %s) AND until <= clock_timestamp() ORDER BY name", (prefix,)
    )
    return [name for (name,) in await cursor.fetchall()]
