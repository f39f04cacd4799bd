"""Tour: indexes are made, described, listed, configured and deleted."""

from checks import equal, refused, true
from pinecone import ServerlessSpec
from transports import Connection
from versions import Conflict, Forbidden, NotFound, tags_of

SPEC = ServerlessSpec(cloud="aws", region="us-east-1")


def indexes_are_made_described_and_deleted(connection: Connection) -> None:
    """A dense and a sparse index."""
    client = connection.client
    equal(client.has_index("tour-dense"), False)
    client.create_index(name="tour-dense", dimension=4, metric="cosine", spec=SPEC, tags={"stage": "test"})
    refused(Conflict, "already exists", lambda: client.create_index(name="tour-dense", dimension=4, spec=SPEC))
    client.create_index(name="tour-sparse", vector_type="sparse", metric="dotproduct", spec=SPEC)

    dense = client.describe_index("tour-dense")
    equal((dense.name, dense.dimension, dense.metric, dense.vector_type), ("tour-dense", 4, "cosine", "dense"))
    equal((dense.status.ready, dense.status.state, dense.deletion_protection), (True, "Ready", "disabled"))
    equal(tags_of(dense), {"stage": "test"})
    equal((dense.spec.serverless.cloud, dense.spec.serverless.region), ("aws", "us-east-1"))
    sparse = client.describe_index("tour-sparse")
    equal((sparse.metric, sparse.vector_type), ("dotproduct", "sparse"))
    true(sparse.host != dense.host, dense.host)

    true({"tour-dense", "tour-sparse"} <= {index.name for index in client.list_indexes()})
    equal(client.has_index("tour-dense"), True)
    client.delete_index("tour-dense")
    equal(client.has_index("tour-dense"), False)
    refused(NotFound, "tour-dense not found", lambda: client.describe_index("tour-dense"))
    client.delete_index("tour-sparse")


def a_protected_index_stays(connection: Connection) -> None:
    """Deletion protection and tags; either leaves the other alone."""
    client = connection.client
    client.create_index(
        name="tour-dense", dimension=4, spec=SPEC, deletion_protection="enabled", tags={"a": "1", "b": "2"}
    )
    equal(client.describe_index("tour-dense").deletion_protection, "enabled")
    refused(Forbidden, "Deletion protection is enabled", lambda: client.delete_index("tour-dense"))
    client.configure_index("tour-dense", tags={"a": "", "c": "3"})
    held = client.describe_index("tour-dense")
    equal((tags_of(held), held.deletion_protection), ({"b": "2", "c": "3"}, "enabled"))
    client.configure_index("tour-dense", deletion_protection="disabled")
    held = client.describe_index("tour-dense")
    equal((tags_of(held), held.deletion_protection), ({"b": "2", "c": "3"}, "disabled"))
    client.delete_index("tour-dense")
    equal(client.has_index("tour-dense"), False)
