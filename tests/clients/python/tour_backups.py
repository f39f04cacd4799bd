"""Tour: backups are taken, listed, restored and scheduled."""

from datetime import timedelta

from checks import equal, refused, true
from pinecone import ServerlessSpec
from transports import Connection
from versions import MAJOR, BadRequest, Conflict, NotFound, tags_of

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


def backups_are_scheduled(connection: Connection) -> None:
    """An index is backed up on a schedule, which is changed, paused and deleted."""
    if MAJOR < 10:
        return
    client = connection.client
    client.create_index(name="tour-saved", dimension=2, metric="cosine", spec=SPEC)
    schedules = client.backup_schedules
    made = schedules.create(index_name="tour-saved", name="nightly", frequency="daily", retention_days=90)
    equal((made.name, made.frequency, made.retention_expire_after_days, made.enabled), ("nightly", "daily", 90, True))
    equal(made.next_scheduled_run, made.created_at + timedelta(days=1))
    equal([each.schedule_id for each in schedules.list(index_name="tour-saved")], [made.schedule_id])
    equal([each.schedule_id for each in schedules.iter_schedules(index_name="tour-saved")], [made.schedule_id])
    again = {"index_name": "tour-saved", "name": "b", "frequency": "daily", "retention_days": 1}
    refused(Conflict, "disable or delete", lambda: schedules.create(**again))
    (planned,) = schedules.iter_history(schedule_id=made.schedule_id)
    equal((planned.status, planned.scheduled_execution_at), ("Initializing", made.next_scheduled_run))
    equal((planned.source_index_name, planned.name[:10]), ("tour-saved", "nightly-20"))
    changed = schedules.update(schedule_id=made.schedule_id, frequency="weekly", retention_days=30)
    equal((changed.frequency, changed.retention_expire_after_days, changed.enabled), ("weekly", 30, True))
    paused = schedules.update(schedule_id=made.schedule_id, enabled=False)
    equal((paused.enabled, paused.next_scheduled_run), (False, None))
    equal(schedules.get(schedule_id=made.schedule_id), paused)
    schedules.delete(schedule_id=made.schedule_id)
    refused(NotFound, "not found", lambda: schedules.describe(schedule_id=made.schedule_id))
    client.delete_index("tour-saved")


def backups_of_deleted_indexes_are_listed_on_request(connection: Connection) -> None:
    """Client 10 lists the backups of deleted indexes if it asks for them."""
    if MAJOR < 10:
        return
    client = connection.client
    client.create_index(name="tour-saved", dimension=2, metric="cosine", spec=SPEC)
    backup = client.backups.create(index_name="tour-saved")
    equal(client.backups.describe(backup_id=backup.backup_id).source_index_deleted_at, None)
    client.delete_index("tour-saved")
    refused(NotFound, "not found", lambda: client.backups.list(index_name="tour-saved"))
    (listed,) = client.backups.list(index_name="tour-saved", include_deleted=True)
    equal(listed.backup_id, backup.backup_id)
    true(listed.source_index_deleted_at)
    client.backups.delete(backup_id=backup.backup_id)


def there_are_no_collections(connection: Connection) -> None:
    """Collections are copies of pod indexes, which do not exist here."""
    client = connection.client
    client.create_index(name="tour-saved", dimension=2, metric="cosine", spec=SPEC)
    equal(list(client.list_collections().names()), [])
    words = "Cannot create collections from serverless indexes"
    refused(BadRequest, words, lambda: client.create_collection("tour", "tour-saved"))
    client.delete_index("tour-saved")
