"""`pinyon keys`: creates, lists and revokes API keys."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pinyon.auth.scopes import SCOPES
from pinyon.cli.common import add_settings, data_folder, settings_of, where
from pinyon.errors import FailedPrecondition

if TYPE_CHECKING:
    from pinyon.auth.callers import KeyStore

T = TypeVar("T")


def add(commands: Any) -> None:
    """Make the subcommand known."""
    keys = commands.add_parser("keys", help="the API keys").add_subparsers(required=True, metavar="ACTION")
    for action, run, sentence in (
        ("create", _create, "create a key; it is shown only once"),
        ("list", _list, "list the names of the keys, and when each was created"),
        ("revoke", _revoke, "revoke a key; running servers refuse it within a second"),
    ):
        one = keys.add_parser(action, help=sentence)
        if action != "list":
            one.add_argument("name", metavar="NAME", help="what the key is for")
        if action == "create":
            one.add_argument(
                "--scope",
                action="append",
                choices=SCOPES,
                help="what the key allows: read records, write records or control indexes; repeatable (default: all)",
            )
            one.add_argument(
                "--index", action="append", metavar="INDEX", help="restrict the key to this index; repeatable"
            )
            one.add_argument(
                "--namespace",
                action="append",
                metavar="NAMESPACE",
                help="restrict the key to this namespace; repeatable",
            )
            one.add_argument("--rate", type=requests_per_second, metavar="N", help="at most N requests per second")
        one.set_defaults(run=run)
        add_settings(one, "storage")


def _create(options: argparse.Namespace) -> int:
    from pinyon.auth.stored_keys import Limits
    from pinyon.domain import DEFAULT_NAMESPACE

    limits = Limits(
        tuple(scope for scope in SCOPES if scope in (options.scope or SCOPES)),
        None if options.index is None else tuple(options.index),
        None if options.namespace is None else tuple(name or DEFAULT_NAMESPACE for name in options.namespace),
        options.rate,
    )
    if limits.namespaces is not None and options.scope and "control" in options.scope:
        raise FailedPrecondition("A key for some namespaces cannot control indexes; leave out --scope control")
    if limits.namespaces is not None:
        limits = msgspec.structs.replace(limits, scopes=tuple(s for s in limits.scopes if s != "control"))
    settings = settings_of(options)
    print(_changed(settings, lambda store: store.create(options.name, limits)))
    print(
        f"A key for the server on {where(settings)}. This is the only time that it is shown. Clients send it as "
        "Api-Key; from now on every request needs one.",
        file=sys.stderr,
    )
    return 0


def _changed(settings: Any, change: Callable[["KeyStore"], Awaitable[T]]) -> T:
    """What a change of the stored keys returns. Raises FailedPrecondition if there are no data."""
    import asyncio

    from pinyon.auth.keys import Keys
    from pinyon.auth.shared_keys import SharedKeyStore
    from pinyon.storage.engines import installation_of

    async def run() -> T:
        installation = installation_of(settings.storage)
        if not installation.is_shared:
            return await change(Keys(data_folder(settings), ""))
        engine = await installation.open()
        try:
            assert engine.files is not None
            return await change(SharedKeyStore(engine.files))
        finally:
            await engine.close()

    return asyncio.run(run())


def _list(options: argparse.Namespace) -> int:
    keys = _changed(settings_of(options), lambda store: store.stored())
    for key in keys:
        print(f"{key.name}  ({_describe(key)}, since {key.created}, sha256 {key.sha256[:12]})")
    if not keys:
        print("There is no key. `pinyon keys create NAME` makes one.", file=sys.stderr)
    return 0


def _describe(key: Any) -> str:
    """What a key allows, in a few words."""
    parts = ["everything" if key.scopes == SCOPES and key.indexes is key.namespaces is None else " ".join(key.scopes)]
    for kind, names in (("index", key.indexes), ("namespace", key.namespaces)):
        if names is not None:
            parts.append(f"{kind} {' '.join(names)}")
    if key.per_second is not None:
        parts.append(f"{key.per_second:g} requests/s")
    return ", ".join(parts)


def requests_per_second(text: str) -> float:
    """Parse --rate. Raises ValueError, which argparse reports, outside of 0.001 to 1,000,000."""
    value = float(text)
    if not 0.001 <= value <= 1e6:
        raise ValueError(text)
    return value


def _revoke(options: argparse.Namespace) -> int:
    _changed(settings_of(options), lambda store: store.revoke(options.name))
    print(f"The key {options.name} is revoked.")
    return 0
