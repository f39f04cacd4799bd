"""The process that has the data of an installation open."""

import msgspec


class Holder(msgspec.Struct, frozen=True):
    """name: for people. url: where the process answers on this machine, if it does."""

    name: str
    url: str | None = None
