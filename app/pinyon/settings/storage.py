"""The [storage] section."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pinyon.settings.forms import SCHEMA

APPROXIMATE_FROM = {"sqlite": 50_000, "postgres": 20_000}
"""From how many records on an approximate search of an engine is clearly faster than comparing all of them."""


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [storage] section: where records are, and how much memory searches may use."""

    engine: Annotated[
        Literal["sqlite", "postgres"],
        Meta(description="What stores the data: sqlite, in data_dir; or postgres, in the database that dsn names."),
    ] = "sqlite"
    data_dir: Annotated[str, Meta(description="Folder for the data, relative to the working directory.")] = "data"
    dsn: Annotated[
        str,
        Meta(
            description="PostgreSQL: the database, as a URL or as keywords and values; several hosts are allowed. "
            "Better in PINYON_STORAGE_DSN if it has a password."
        ),
    ] = ""
    replica_dsns: Annotated[tuple[str, ...], Meta(description="PostgreSQL: streaming replicas that answer reads.")] = ()
    read_preference: Annotated[
        Literal["primary", "replica"], Meta(description="PostgreSQL: which server answers reads.")
    ] = "primary"
    replica_wait_s: Annotated[
        float,
        Meta(
            ge=0,
            description="PostgreSQL: how long a read waits for a replica that lacks a write which it must see; then "
            "the primary answers.",
        ),
    ] = 0.2
    schema: Annotated[
        str,
        Meta(
            pattern=SCHEMA,
            description="PostgreSQL: the schema of the catalogue; those of the indexes are named after it.",
        ),
    ] = "pinyon"
    connections: Annotated[
        int, Meta(ge=2, le=1_000, description="PostgreSQL: the most connections of a process to each server.")
    ] = 10
    statement_timeout_s: Annotated[
        float, Meta(gt=0, description="PostgreSQL: after so many seconds the database gives up a request.")
    ] = 30.0
    read_only: Annotated[
        bool,
        Meta(
            description="Change nothing: for a second process on the same folder, or for a disk that cannot be written."
        ),
    ] = False
    readers: Annotated[
        int, Meta(ge=1, le=64, description="Number of searches that read from disk at the same time.")
    ] = 4
    vector_cache_bytes: Annotated[
        int, Meta(ge=0, description="Cache size for the vectors of namespaces that are searched repeatedly.")
    ] = 536_870_912
    filter_cache_bytes: Annotated[int, Meta(ge=0, description="Cache size for the results of recent filters.")] = (
        67_108_864
    )
    column_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Cache size for the values of filtered fields, in namespaces with 2,000 records or more.",
        ),
    ] = 134_217_728
    posting_cache_bytes: Annotated[int, Meta(ge=0, description="Cache size for the words of recent searches.")] = (
        67_108_864
    )
    approximate_from: Annotated[
        int,
        Meta(
            ge=-1,
            description="From this many records per namespace on, vector searches are approximate; 0 for always exact; "
            "-1 for the engine's own number: 50,000 with sqlite, 20,000 with postgres.",
        ),
    ] = -1
    approximate_recall: Annotated[
        float,
        Meta(
            ge=0.5,
            le=0.999,
            description="Average share of the nearest vectors that approximate searches find; where they would find "
            "less, search exactly.",
        ),
    ] = 0.98
    inline_read_ms: Annotated[
        float,
        Meta(
            ge=0,
            description="If the previous search took less than this many ms, run the next one on the main thread. 0: "
            "always use a worker thread.",
        ),
    ] = 1.0
    recall_sample: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of approximate searches that are repeated exactly in idle time to measure recall (GET "
            "/recall).",
        ),
    ] = 0.01
    writes_per_commit: Annotated[
        int, Meta(ge=1, description="Number of concurrent writes to an index that may share one commit to disk.")
    ] = 64
    mmap_bytes: Annotated[int, Meta(ge=0, description="Bytes of each index file that SQLite may map into memory.")] = (
        2_147_418_112
    )

    @property
    def approximate_from_records(self) -> int | None:
        """What approximate_from means for the engine. None: no search is approximate."""
        return APPROXIMATE_FROM[self.engine] if self.approximate_from < 0 else self.approximate_from or None
