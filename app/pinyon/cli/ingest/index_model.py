"""What the embedding model of an index reads, as its server says."""

import asyncio
from collections.abc import Sequence
from typing import Any

from pinyon.cli.client.api import Address, Api
from pinyon.documents.chunking import CountTokens
from pinyon.errors import FailedPrecondition, InvalidArgument, NotFound

MOST_TEXTS, MOST_BYTES = 1_000, 1_000_000
"""Of one request to count tokens."""


class IndexModel:
    """The model that embeds the texts of an index. Made by described().

    name: of the model. text_field: the field that it reads. max_tokens: what it reads of a text. at: where the index
    answers.
    """

    def __init__(self, api: Api, at: Address, name: str, text_field: str, max_tokens: int) -> None:
        self._api, self.at, self.name, self.text_field, self.max_tokens = api, at, name, text_field, max_tokens

    @classmethod
    async def described(cls, api: Api, index: str) -> "IndexModel":
        """The model of an index.

        Raises NotFound without such an index, FailedPrecondition if it does not embed texts by a dense model, or if its
        server cannot count tokens.
        """
        described, at = await api.index(index)
        embed = described.get("embed")
        if not embed or described.get("vector_type") == "sparse":
            raise FailedPrecondition(
                f"Index {index} has no dense embedding model; create one for a model (POST /indexes/create-for-model)"
            )
        model = embed["model"]
        try:
            counts = await _counted(api, model, ["a"])
        except (NotFound, InvalidArgument) as error:
            raise FailedPrecondition(
                f"The server cannot count the tokens of {model}; `pinyon ingest` needs a Pinyon of its own version: "
                f"{error.message}"
            ) from error
        return cls(api, at, model, (embed.get("field_map") or {}).get("text", "text"), counts["max_tokens"])

    def counter(self) -> CountTokens:
        """Counts tokens for a chunker, which runs in another thread than this one. Raises PinyonError."""
        loop = asyncio.get_running_loop()

        def count(texts: Sequence[str]) -> list[int]:
            return asyncio.run_coroutine_threadsafe(self.count(texts), loop).result()

        return count

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model reads it. Raises PinyonError."""
        tokens: list[int] = []
        batch: list[str] = []
        size = 0
        for text in texts:
            length = len(text.encode())
            if batch and (len(batch) == MOST_TEXTS or size + length > MOST_BYTES):
                tokens += (await _counted(self._api, self.name, batch))["tokens"]
                batch, size = [], 0
            batch.append(text)
            size += length
        if batch:
            tokens += (await _counted(self._api, self.name, batch))["tokens"]
        return tokens


async def _counted(api: Api, model: str, texts: Sequence[str]) -> Any:
    body = {
        "model": model,
        "inputs": [{"text": text} for text in texts],
        "parameters": {"input_type": "passage"},
    }
    return await api.ask("POST", "/embed/count-tokens", body)
