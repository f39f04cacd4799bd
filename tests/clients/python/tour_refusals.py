"""Tour: what a server refuses."""

from checks import refused
from transports import Connection, connected
from versions import NotFound, Unauthorized


def a_wrong_key_is_refused(connection: Connection) -> None:
    """By the control plane, by the data plane and by the inference API."""
    host = connection.client.describe_index("tour-dense").host
    with connected(connection.transport, key="wrong-key") as stranger:
        refused(Unauthorized, "key", stranger.client.list_indexes)
        refused(Unauthorized, "key", lambda: stranger.client.describe_index("tour-dense"))
        refused(Unauthorized, "key", lambda: stranger.client.describe_index("no-such-index"))
        embedding = {"model": "multilingual-e5-large", "inputs": ["x"], "parameters": {"input_type": "query"}}
        refused(Unauthorized, "key", lambda: stranger.client.inference.embed(**embedding))
        index = stranger.index_at(host)
        unauthorized = connection.refusal(Unauthorized)
        refused(unauthorized, "key", index.describe_index_stats)
        refused(unauthorized, "key", lambda: index.query(vector=[1.0, 0.0, 0.0, 0.0], top_k=1))


def what_is_not_there_is_not_found(connection: Connection) -> None:
    """Indexes."""
    client = connection.client
    refused(NotFound, "no-such-index not found", lambda: client.describe_index("no-such-index"))
    refused(NotFound, "no-such-index not found", lambda: client.delete_index("no-such-index"))
    refused(NotFound, "no-such-index not found", lambda: client.configure_index("no-such-index", tags={"a": "b"}))
