"""The [import] section."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pinyon.settings.forms import IMPORT_SOURCE


class ImportSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [import] section: what the bulk import of the API may read."""

    allow: Annotated[
        tuple[Annotated[str, Meta(pattern=IMPORT_SOURCE)], ...],
        Meta(
            description="What the API may import: absolute paths, and addresses such as s3://bucket/folder or "
            "https://example.com/data."
        ),
    ] = ()
