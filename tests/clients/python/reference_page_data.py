"""What the examples of the reference page take for granted: an API key, indexes, and records in them."""

import contextlib
import os
from typing import Any

from pinecone import Pinecone, ServerlessSpec
from pinecone.exceptions import NotFoundException
from versions import TRUST, listed_namespaces

API_KEY = os.environ["PINECONE_API_KEY"]
NAMESPACE = "example-namespace"

APPLES = [
    {
        "_id": "rec1",
        "chunk_text": "Apples are a great source of dietary fiber, which supports digestion and helps maintain a healthy gut.",
        "category": "digestive system",
    },
    {
        "_id": "rec2",
        "chunk_text": "Apples originated in Central Asia and have been cultivated for thousands of years, with over 7,500 varieties available today.",
        "category": "cultivation",
    },
    {
        "_id": "rec3",
        "chunk_text": "Rich in vitamin C and other antioxidants, apples contribute to immune health and may reduce the risk of chronic diseases.",
        "category": "immune system",
    },
    {
        "_id": "rec4",
        "chunk_text": "The high fiber content in apples can also help regulate blood sugar levels, making them a favorable snack for people with diabetes.",
        "category": "endocrine system",
    },
]


class ReferenceIndexes:
    """docs-example, which embeds text into 8 numbers, and docs-example-2d, for vectors of 2."""

    def __init__(self) -> None:
        self.client = Pinecone(api_key=API_KEY, **TRUST)
        self.delete()
        self.client.create_index_for_model(
            name="docs-example",
            cloud="aws",
            region="us-east-1",
            embed={"model": "test-embed-8", "metric": "euclidean", "field_map": {"text": "chunk_text"}},
        )
        self.client.create_index(
            name="docs-example-2d", dimension=2, spec=ServerlessSpec(cloud="aws", region="us-east-1")
        )

    def host(self, name: str = "docs-example") -> str:
        """Where an index answers."""
        return str(self.client.describe_index(name).host)

    def empty(self, name: str = "docs-example") -> Any:
        """An index without any namespace."""
        index = self.client.Index(host=self.host(name))
        for namespace in [held.name for held in listed_namespaces(index.list_namespaces())]:
            index.delete_namespace(namespace=namespace)
        return index

    def delete(self) -> None:
        """Delete both."""
        for name in ("docs-example", "docs-example-2d"):
            with contextlib.suppress(NotFoundException):
                self.client.delete_index(name)


def vector(name: str, number: float, length: int = 8, **metadata: Any) -> dict[str, Any]:
    """A vector of the same number, over and over."""
    return {"id": name, "values": [float(number)] * length, "metadata": metadata}
