"""The [limits] section."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pinyon.errors import TooLarge


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [limits] section. The defaults are Pinecone's limits."""

    records_per_upsert: Annotated[int, Meta(ge=1, description="Maximum number of records in one upsert of texts.")] = 96
    upsert_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="Maximum size of one upsert in bytes: vectors count 4 bytes per number, records count as sent.",
        ),
    ] = 2 * 1024 * 1024
    vectors_per_upsert: Annotated[int, Meta(ge=1, description="Maximum number of vectors in one upsert.")] = 1_000
    sparse_terms: Annotated[int, Meta(ge=1, description="Maximum number of non-zero values in one sparse vector.")] = (
        2_048
    )
    fetch_ids: Annotated[int, Meta(ge=1, description="Maximum number of ids in one fetch.")] = 1_000
    delete_ids: Annotated[int, Meta(ge=1, description="Maximum number of ids in one delete.")] = 1_000
    list_page: Annotated[int, Meta(ge=1, description="Maximum number of ids or namespaces on one page of a list.")] = (
        100
    )
    fetch_page: Annotated[
        int, Meta(ge=1, description="Maximum number of records on one page of fetch_by_metadata.")
    ] = 10_000
    update_records: Annotated[
        int, Meta(ge=1, description="Maximum number of records that one update by filter may change.")
    ] = 100_000
    result_bytes: Annotated[
        int,
        Meta(ge=1, description="Maximum size of the records in one answer in bytes; vectors count 4 bytes per number."),
    ] = 4 * 1024 * 1024
    metadata_bytes: Annotated[
        int, Meta(ge=1, description="Maximum size of the fields of one record in bytes, as JSON.")
    ] = 40_960
    id_characters: Annotated[int, Meta(ge=1, le=512, description="Maximum length of an id in characters.")] = 512
    namespace_characters: Annotated[
        int, Meta(ge=1, description="Maximum length of a namespace's name in characters.")
    ] = 512
    filter_values: Annotated[int, Meta(ge=1, description="Maximum number of values in one $in or $nin.")] = 10_000
    top_k: Annotated[int, Meta(ge=1, description="Maximum top_k of a search.")] = 10_000
    fields: Annotated[int, Meta(ge=1, description="Maximum number of names in `fields` of a search.")] = 100

    def check_body(self, size: int) -> None:
        """Raises TooLarge if the body of an upsert of records is larger than upsert_bytes. size: in bytes."""
        if size > self.upsert_bytes:
            raise TooLarge(
                f"The request body has {size} bytes, which exceeds the maximum supported size of "
                f"{self.upsert_bytes} bytes; split it into smaller requests, or raise [limits] upsert_bytes"
            )

    def check_upsert(self, size: int) -> None:
        """Raises TooLarge if the vectors of an upsert are larger than upsert_bytes. size: as sizes.py counts it."""
        if size > self.upsert_bytes:
            raise TooLarge(
                f"The vectors have {size} bytes (4 for a number, 8 for a sparse pair, ids, metadata as JSON), which "
                f"exceeds the maximum supported size of {self.upsert_bytes} bytes; send them in smaller batches, or "
                "raise [limits] upsert_bytes"
            )

    def check_answer(self, size: int, advice: str) -> None:
        """Raises TooLarge if the records of an answer are larger than result_bytes. size: as sizes.py counts it."""
        if size > self.result_bytes:
            raise TooLarge(
                f"The answer has {size} bytes, which exceeds the maximum supported size of {self.result_bytes} bytes; "
                f"{advice}"
            )

    @property
    def vector_body_bytes(self) -> int:
        """Maximum size of the body of an upsert of vectors in bytes, checked before its content is read.

        A number counts as 4 bytes and takes up to 24 characters of JSON and a separator. Eight times upsert_bytes is
        enough for both, indentation included.
        """
        return 8 * self.upsert_bytes
