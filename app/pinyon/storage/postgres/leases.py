"""Leases: who may do a job, until when, by the clock of the database. Plain functions on a connection."""

from pinyon.storage.postgres.connection.database import Connection


async def take(connection: Connection, name: str, owner: str, seconds: float) -> bool:
    """Take or renew a lease. False while another owner has it."""
    cursor = await connection.execute(
        "INSERT INTO leases (name, owner, until) VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s))"
        " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until"
        " WHERE leases.owner = excluded.owner OR leases.until < clock_timestamp()",
        (name, owner, seconds),
    )
    return cursor.rowcount > 0


async def release(connection: Connection, name: str, owner: str) -> None:
    """Let another owner take the lease. Another owner's lease is left alone."""
    await connection.execute("DELETE FROM leases WHERE name = %s AND owner = %s", (name, owner))


async def forget(connection: Connection, name: str) -> None:
    """Remove a lease, because what it is for is gone."""
    await connection.execute("DELETE FROM leases WHERE name = %s", (name,))
