"""Every setting of Pinyon: its name, its default, one sentence; and where its value comes from.

One name, three spellings: `[server] port` in TOML, PINYON_SERVER_PORT in the environment, --port on the command
line; later ones win. Nobody else reads the environment.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from pinyon.errors import FailedPrecondition, TooLarge
from pinyon.shipped import HOME

INDEX_NAME = r"\A[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?\Z"
TEXT_FIELD = r"\A(?!\$|(_id|id|_score)\Z)."
"""A metadata field that a record can have: not empty, no $ in front, none of the names a record uses itself."""
MAX_DIMENSION = 8_192
"""The longest vector that sqlite-vec's table takes; Pinecone allows 20,000."""


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Pinyon listens."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 5080
    index_ports: Annotated[
        str,
        Meta(
            pattern=r"\A([0-9]{1,5}-[0-9]{1,5})?\Z",
            description="Ports (FIRST-LAST) for indexes besides that of [index], one each; empty for none.",
        ),
    ] = "5081-5100"
    index_host: Annotated[
        str,
        Meta(
            pattern=r"\A([a-zA-Z0-9.-]*\{index\}[a-zA-Z0-9.-]*\.[a-zA-Z0-9.-]+)?\Z",
            description="Host names for indexes instead of ports, such as {index}.search.example.com.",
        ),
    ] = ""
    public_url: Annotated[
        str,
        Meta(
            pattern=r"\A(https?://[a-zA-Z0-9.:\[\]-]+)?\Z",
            description="Where clients reach this server if a proxy stands before it, such as https://example.com.",
        ),
    ] = ""
    tls_cert: Annotated[str, Meta(description="File of the TLS certificate chain (PEM); empty for clear text.")] = ""
    tls_key: Annotated[str, Meta(description="File of the certificate's private key (PEM).")] = ""
    api_key: Annotated[
        str,
        Meta(
            pattern=r"\A[!-~]*\Z",
            description="A key that callers must send as Api-Key; more of them are made by `pinyon keys create`.",
        ),
    ] = ""
    insecure: Annotated[
        bool,
        Meta(
            description="Serve other addresses, host names and web pages than this machine's own "
            "although there are no API keys."
        ),
    ] = False
    shutdown_grace_s: Annotated[
        float, Meta(ge=0, description="Seconds that requests in flight get to finish after SIGTERM.")
    ] = 30.0
    cors_origins: Annotated[
        tuple[str, ...], Meta(description="Origins of web pages that may call this server from a browser.")
    ] = ()
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe message that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="Lines of the log: for people, or JSON objects for programs.")
    ] = "text"
    access_log: Annotated[
        bool, Meta(description="Log a line for each request: operation, status, time, and no content.")
    ] = False

    @property
    def index_port_range(self) -> range:
        """The ports of index_ports."""
        if not self.index_ports:
            return range(0)
        first, last = map(int, self.index_ports.split("-"))
        return range(first, last + 1)

    def __post_init__(self) -> None:
        ports = self.index_port_range
        try:
            fine = urlsplit(self.public_url or "http://x").port != 0
        except ValueError:
            fine = False
        if not fine or not urlsplit(self.public_url or "http://x").hostname:
            raise ValueError(f"public_url must be a URL such as https://example.com, got {self.public_url}")
        if self.index_ports and not (ports and ports[0] >= 1 and ports[-1] <= 65535):
            raise ValueError(f"index_ports must be a range of ports such as 5081-5100, got {self.index_ports}")


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where records live."""

    engine: Annotated[Literal["sqlite"], Meta(description="What stores the data; sqlite is the only one.")] = "sqlite"
    data_dir: Annotated[str, Meta(description="Folder of the data, relative to the working directory.")] = "data"
    read_only: Annotated[
        bool,
        Meta(description="Change nothing: for a second process on one folder, or a disk that takes no writes."),
    ] = False
    readers: Annotated[int, Meta(ge=1, le=64, description="Searches that read the disk at the same time.")] = 4
    vector_cache_bytes: Annotated[
        int, Meta(ge=0, description="Memory for the vectors of namespaces that are searched again and again.")
    ] = 536_870_912
    filter_cache_bytes: Annotated[
        int, Meta(ge=0, description="Memory for which records the filters used last keep.")
    ] = 67_108_864
    column_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Memory for the values of the fields that filters ask for, in namespaces of 2,000 records and "
            "more.",
        ),
    ] = 134_217_728
    approximate_from: Annotated[
        int,
        Meta(
            ge=0,
            description="Records of a namespace from which on searches by vector look at the most promising part only; "
            "0 to compare all, always.",
        ),
    ] = 50_000
    approximate_recall: Annotated[
        float,
        Meta(
            ge=0.5,
            le=0.999,
            description="Share of the nearest that such searches find on average; where they may find less, all are "
            "compared.",
        ),
    ] = 0.98
    at_once_ms: Annotated[
        float,
        Meta(
            ge=0,
            description="Where a search took at most so long and nothing was written since, the next one is not handed "
            "to another thread; 0 to hand over all.",
        ),
    ] = 1.0
    recall_sample: Annotated[
        float,
        Meta(ge=0, le=1, description="Share of such searches that are repeated exactly in idle time; GET /recall."),
    ] = 0.01
    writes_per_commit: Annotated[
        int, Meta(ge=1, description="Writes to an index that may share a wait for the disk, when they come together.")
    ] = 64
    mmap_bytes: Annotated[int, Meta(ge=0, description="How much of each index file SQLite may map into memory.")] = (
        2_147_418_112
    )


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which machine-learning models answer."""

    models_dir: Annotated[
        str,
        Meta(description="Folder of weights/; relative to the checkout, or, if installed, to the user's data folder."),
    ] = "models"
    stand_ins: Annotated[
        bool,
        Meta(description="Let a local model answer for a hosted one whose weights are absent, and say so."),
    ] = False
    mix: Annotated[
        bool,
        Meta(description="Search by text also among vectors that callers brought, where a stand-in embeds the text."),
    ] = False
    offline: Annotated[bool, Meta(description="Never touch the network, not even in `pinyon models pull`.")] = False
    preload: Annotated[
        tuple[str, ...], Meta(description="Rerankers to load before /ready, if their weights are here.")
    ] = ("bge-reranker-v2-m3",)
    threads: Annotated[int, Meta(ge=0, description="Threads one model call computes with; 0 takes every core.")] = 0
    queue: Annotated[
        int, Meta(ge=1, description="Model calls that may wait; one more is answered with 503 at once.")
    ] = 256
    query_cache_bytes: Annotated[
        int, Meta(ge=0, description="Memory for the vectors of the texts that were searched for last.")
    ] = 33_554_432
    token_cache_bytes: Annotated[
        int, Meta(ge=0, description="Memory for token vectors of documents that late interaction reranked.")
    ] = 268_435_456
    paths: Annotated[dict[str, str], Meta(description="Absolute folder of a model's weights, by model name.")] = (
        msgspec.field(default_factory=dict)
    )


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pinecone's limits."""

    records_per_upsert: Annotated[int, Meta(ge=1, description="Records one upsert may carry.")] = 96
    upsert_bytes: Annotated[
        int, Meta(ge=1, description="Bytes one upsert may have: of vectors four a number, of records as sent.")
    ] = 2 * 1024 * 1024
    vectors_per_upsert: Annotated[int, Meta(ge=1, description="Vectors one upsert may carry.")] = 1_000
    sparse_terms: Annotated[int, Meta(ge=1, description="Non-zero terms one sparse vector may have.")] = 2_048
    fetch_ids: Annotated[int, Meta(ge=1, description="Ids one fetch may name.")] = 1_000
    delete_ids: Annotated[int, Meta(ge=1, description="Ids one delete may name.")] = 1_000
    list_page: Annotated[int, Meta(ge=1, description="Ids or namespaces one page of a list may have.")] = 100
    fetch_page: Annotated[int, Meta(ge=1, description="Records one page of fetch_by_metadata may have.")] = 10_000
    update_records: Annotated[int, Meta(ge=1, description="Records one update by filter may change.")] = 100_000
    result_bytes: Annotated[
        int, Meta(ge=1, description="Bytes the records of a query's answer may have, four a number.")
    ] = 4 * 1024 * 1024
    metadata_bytes: Annotated[int, Meta(ge=1, description="Bytes the fields of one record may have, as JSON.")] = 40_960
    id_characters: Annotated[int, Meta(ge=1, le=512, description="Characters an id may have.")] = 512
    namespace_characters: Annotated[int, Meta(ge=1, description="Characters a namespace's name may have.")] = 512
    filter_values: Annotated[int, Meta(ge=1, description="Values one $in or $nin may list.")] = 10_000
    top_k: Annotated[int, Meta(ge=1, description="Largest top_k of a search.")] = 10_000
    fields: Annotated[int, Meta(ge=1, description="Names `fields` may list in a search.")] = 100

    def check_body(self, size: int) -> None:
        """Raises TooLarge if the body of an upsert of records has too many bytes."""
        if size > self.upsert_bytes:
            raise TooLarge(
                f"The request body has {size} bytes, which exceeds the maximum supported size of "
                f"{self.upsert_bytes} bytes; split it into smaller requests, or raise [limits] upsert_bytes"
            )

    def check_upsert(self, size: int) -> None:
        """Raises TooLarge if the vectors of an upsert have too many bytes, as services/sizes.py counts them."""
        if size > self.upsert_bytes:
            raise TooLarge(
                f"The vectors have {size} bytes (4 for a number, 8 for a sparse pair, ids, metadata as JSON), which "
                f"exceeds the maximum supported size of {self.upsert_bytes} bytes; send them in smaller batches, or "
                "raise [limits] upsert_bytes"
            )

    def check_answer(self, size: int, advice: str) -> None:
        """Raises TooLarge if the records of an answer have too many bytes, as services/sizes.py counts them."""
        if size > self.result_bytes:
            raise TooLarge(
                f"The answer has {size} bytes, which exceeds the maximum supported size of {self.result_bytes} bytes; "
                f"{advice}"
            )

    @property
    def vector_body_bytes(self) -> int:
        """Bytes that the body of an upsert of vectors may have, before anything in it is counted.

        A number is up to 24 characters of JSON and a separator, where it counts for four bytes; so eight times as much
        is enough, indentation included.
        """
        return 8 * self.upsert_bytes


class IndexSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The index that answers on the main port; made at the first start. No [index] table, no index."""

    name: Annotated[
        str,
        Meta(
            pattern=INDEX_NAME,
            description="1 to 45 lower-case letters, digits and hyphens, no hyphen at either end.",
        ),
    ]
    model: Annotated[
        str, Meta(description="Embedding model, by its name in models/manifest.toml; without one, vectors only.")
    ] = ""
    vector_type: Annotated[
        Literal["dense", "sparse"], Meta(description="dense or sparse; an embedding model decides it itself.")
    ] = "dense"
    metric: Annotated[
        Literal["", "cosine", "dotproduct", "euclidean"],
        Meta(description="cosine, dotproduct or euclidean; if empty, cosine, or dotproduct for sparse vectors."),
    ] = ""
    dimension: Annotated[
        int, Meta(ge=0, le=MAX_DIMENSION, description="Length of dense vectors; 0 takes the model's default.")
    ] = 0
    field_map: Annotated[
        dict[Literal["text"], Annotated[str, Meta(pattern=TEXT_FIELD)]],
        Meta(min_length=1, description="The field of a record that is embedded."),
    ] = msgspec.field(default_factory=lambda: {"text": "text"})
    read_parameters: Annotated[
        dict[str, Any],
        Meta(description="How queries are treated: truncate (END, NONE), retrieval (dense, lexical, hybrid)."),
    ] = msgspec.field(default_factory=lambda: {"truncate": "END"})
    write_parameters: Annotated[
        dict[str, Any],
        Meta(
            description="How texts are treated: truncate (END, NONE), language of their words, diacritics (fold, keep)."
        ),
    ] = msgspec.field(default_factory=lambda: {"truncate": "END"})


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    server: ServerSettings = ServerSettings()
    storage: StorageSettings = StorageSettings()
    models: ModelSettings = ModelSettings()
    limits: LimitSettings = LimitSettings()
    index: IndexSettings | None = None

    @property
    def models_dir(self) -> Path:
        """Absolute path of the models folder."""
        return HOME / self.models.models_dir


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "server": ServerSettings,
    "storage": StorageSettings,
    "models": ModelSettings,
    "limits": LimitSettings,
    "index": IndexSettings,
}


class Setting(msgspec.Struct, frozen=True):
    """One row of the settings table."""

    section: str
    key: str
    type: Any
    default: Any
    sentence: str

    @property
    def variable(self) -> str:
        """Its spelling in the environment."""
        return f"PINYON_{self.section}_{self.key}".upper()

    @property
    def flag(self) -> str:
        """Its spelling on the command line."""
        return "--" + self.key.replace("_", "-")

    @property
    def simple(self) -> bool:
        """Whether it fits in one word, and so in a flag or a variable; tables belong in the TOML file."""
        return self.section != "index" and self.type in (str, int, float, bool)


def table() -> list[Setting]:
    """Every setting, in the order of this file."""
    rows = []
    for section, struct in SECTIONS.items():
        hints = get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            default = field.default
            if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            hint = hints[field.name]
            sentence = " ".join(m.description for m in hint.__metadata__ if m.description)
            rows.append(Setting(section, field.name, hint.__origin__, default, sentence))
    return rows


def load(
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from a TOML file, then the environment, then flags ({"port": 5080}).

    Raises FailedPrecondition with one sentence about what is wrong and where.
    """
    raw: dict[str, Any] = {}
    if config is not None:
        try:
            raw = tomllib.loads(config.read_text(encoding="utf-8"))
        except OSError as error:
            raise FailedPrecondition(f"Cannot read the settings file {config}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FailedPrecondition(f"The settings file {config} is not valid TOML: {error}") from error
    settings = _convert(raw, f"the settings file {config}", strict=True)
    by_variable = {row.variable: row for row in table() if row.simple}
    for name, text in (environ or {}).items():
        # Other variables may begin with PINYON_ too: Kubernetes makes PINYON_PORT for a service of that name.
        if not name.startswith(tuple(f"PINYON_{section.upper()}_" for section in SECTIONS)):
            continue
        if name not in by_variable:
            close = difflib.get_close_matches(name, by_variable, 1)
            meant = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(by_variable))}"
            raise FailedPrecondition(f"Unknown variable {name}; {meant}")
        row = by_variable[name]
        _set(raw, row, text)
        settings = _convert(raw, f"the variable {name}", strict=False)
    by_flag = {row.key: row for row in table() if row.simple}
    for key, value in (flags or {}).items():
        _set(raw, by_flag[key], value)
        settings = _convert(raw, f"the option {by_flag[key].flag}", strict=False)
    return settings


def _set(raw: dict[str, Any], row: Setting, value: Any) -> None:
    raw.setdefault(row.section, {})[row.key] = value


def _convert(raw: dict[str, Any], where: str, strict: bool) -> Settings:
    try:
        return msgspec.convert(raw, Settings, strict=strict)
    except msgspec.ValidationError as error:
        raise FailedPrecondition(f"Wrong setting in {where}: {error}{_meant(str(error))}") from error


def _meant(problem: str) -> str:
    """What an unknown setting may have been meant to be, or what there is."""
    found = re.search(r"unknown field `([^`]*)`(?: - at `\$\.(\w+)`)?", problem)
    if found is None:
        return ""
    section = found[2]
    known = [row.key for row in table() if row.section == section] if section else list(SECTIONS)
    close = difflib.get_close_matches(found[1], known, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(known)}"
