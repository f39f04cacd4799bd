"""Tour: files are imported in bulk."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from checks import equal, refused, true
from pinecone import ServerlessSpec
from transports import Connection
from versions import MAJOR, Forbidden, NotFound

SPEC = ServerlessSpec(cloud="aws", region="us-east-1")
CONTINUE = "CONTINUE" if MAJOR < 9 else "continue"


def ended(index: Any, id: str) -> Any:
    """The description of an import when it has ended."""
    while (described := index.describe_import(id)).status in ("Pending", "InProgress"):
        pass
    return described


def files_are_imported(connection: Connection) -> None:
    """Imports are begun, described, listed and cancelled."""
    connection.client.create_index(name="tour-imports", dimension=2, metric="cosine", spec=SPEC)
    if connection.transport == "grpc":  # gRPC has no imports
        return
    index = connection.index("tour-imports")
    with tempfile.TemporaryDirectory(dir=os.environ["IMPORT_FOLDER"]) as folder:
        rows = [{"id": f"r{n}", "values": [n, 1.0], "metadata": {"n": n}} for n in range(10)]
        (Path(folder) / "n").mkdir()
        (Path(folder) / "n" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        id = index.start_import(uri=f"file://{folder}").id
        done = ended(index, id)
    equal((done.status, done.records_imported, done.percent_complete), ("Completed", 10, 100.0))
    true(done.created_at and done.finished_at)
    equal(index.describe_index_stats().namespaces["n"].vector_count, 10)

    waiting = index.start_import(uri="s3://bucket-of-nobody/folder", error_mode=CONTINUE).id
    true(waiting in [str(each.id) for each in index.list_imports()])
    index.cancel_import(waiting)
    equal(index.describe_import(waiting).status, "Cancelled")
    index.cancel_import(id)
    equal(index.describe_import(id).status, "Completed")
    refused(NotFound, "not found", lambda: index.describe_import("none"))
    refused(Forbidden, "[import]", lambda: index.start_import(uri="file:///etc"))
