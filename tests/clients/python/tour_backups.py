"""Tour: backups are taken, listed and restored."""

from checks import equal, refused, true
from pinecone import ServerlessSpec
from transports import Connection
from versions import Conflict, NotFound, tags_of

SPEC = ServerlessSpec(cloud="aws", region="us-east-1")


def backups_are_taken_listed_and_restored(connection: Connection) -> None:
    """A backup becomes another index, and outlasts its own until it is deleted."""
    client = connection.client
    client.create_index(name="tour-saved", dimension=2, metric="cosine", spec=SPEC)
    connection.index("tour-saved").upsert(vectors=[("a", [1.0, 2.0]), ("b", [2.0, 1.0])], namespace="n")
    backup = client.create_backup(index_name="tour-saved", backup_name="before", description="")
    true(backup.status in ("Initializing", "Pending", "Ready"), backup.status)
    equal((backup.source_index_name, backup.name, backup.description), ("tour-saved", "before", ""))
    equal((backup.cloud, backup.region), ("aws", "us-east-1"))
    true(backup.created_at)
    id = backup.backup_id
    described = client.describe_backup(backup_id=id)
    equal((described.status, described.record_count, described.namespace_count), ("Ready", 2, 1))
    true(id in [each.backup_id for each in client.list_backups()])
    equal([each.backup_id for each in client.list_backups(index_name="tour-saved")], [id])
    client.delete_index("tour-saved")

    client.create_index_from_backup(backup_id=id, name="tour-copy", tags={"from": "backup"})
    copy = client.describe_index("tour-copy")
    equal((copy.status.ready, tags_of(copy)), (True, {"from": "backup"}))
    equal(connection.index("tour-copy").describe_index_stats().total_vector_count, 2)
    job = next(each for each in client.list_restore_jobs() if each.backup_id == id)
    equal(client.describe_restore_job(job_id=job.restore_job_id).status, "Completed")
    equal((job.target_index_name, float(job.percent_complete)), ("tour-copy", 100.0))
    again = {"backup_id": id, "name": "tour-copy"}
    refused(Conflict, "already exists", lambda: client.create_index_from_backup(**again))
    client.delete_index("tour-copy")
    client.delete_backup(backup_id=id)
    refused(NotFound, "not found", lambda: client.describe_backup(backup_id=id))
    refused(NotFound, "not found", lambda: client.describe_restore_job(job_id="none"))
