"""The forms that settings have, and what each allows in words."""

from typing import Literal

import msgspec

INDEX_NAME = r"\A[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?\Z"
Pooling = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
"""How the vectors of a text's tokens become one vector; the names are those of sentence-transformers."""
Activation = Literal["identity", "sigmoid"]
"""What a cross-encoder does with its score of a pair; sigmoid scales it to 0..1."""
TEXT_FIELD = r"\A(?!\$|(_id|id|_score)\Z)."
"""Names that a metadata field can have: not empty, no $ in front, and not one of the names that records use."""

PORT_RANGE = r"\A([0-9]{1,5}-[0-9]{1,5}|free:[0-9]{1,4})?\Z"
FREE = "free:"
IMPORT_SOURCE = r"\A(/.*|(s3|gs)://.*|https?://[^/].*)\Z"
INDEX_HOST = r"\A([a-zA-Z0-9.-]*\{index\}[a-zA-Z0-9.-]*\.[a-zA-Z0-9.-]+)?\Z"
PUBLIC_URL = r"\A(https?://[a-zA-Z0-9.:\[\]-]+)?\Z"
API_KEY = r"\A[!-~]*\Z"
SCHEMA = r"\A(?!pg_|information_schema\Z)(?!.*(_[0-9]+|_backup)\Z)[a-z_][a-z0-9_]{0,39}\Z"
"""Indexes and backups have the schemas SCHEMA_1 and SCHEMA_backup_1, which must not be the catalogue of another
installation; PostgreSQL keeps pg_ and information_schema for itself."""
MODEL_SOURCE = r"\A(/.*|hub:[\w.-]+/[\w.-]+(@[\w.-]+)?)\Z"
FORMS = {
    INDEX_NAME: "1 to 45 lower-case letters, digits and hyphens, with no hyphen at either end",
    TEXT_FIELD: "the name of a field: not empty, no $ in front, and none of _id, id and _score",
    PORT_RANGE: "two ports, such as 5081-5100, or a number of free ones, such as free:20, or nothing",
    INDEX_HOST: "a host name with {index} in it, such as {index}.search.example.com, or nothing",
    PUBLIC_URL: "a URL without a path, such as https://example.com, or nothing",
    API_KEY: "letters, digits and punctuation of ASCII, without spaces",
    IMPORT_SOURCE: "an absolute path, or an address with s3://, gs://, https:// or http://",
    SCHEMA: "1 to 40 lower-case letters, digits and underscores, with no digit in front, no _backup and no underscore "
    "with a number at the end, and neither pg_ in front nor information_schema",
    MODEL_SOURCE: "hub:OWNER/NAME, hub:OWNER/NAME@REVISION or the absolute path of a folder",
}
"""What each pattern of a setting allows, in words."""


def in_words(error: msgspec.ValidationError) -> str:
    """The message of an error, with what is allowed in words instead of a pattern."""
    message = str(error)
    for pattern, words in FORMS.items():
        message = message.replace(f"`str` matching regex {pattern!r}", words)
    return message
