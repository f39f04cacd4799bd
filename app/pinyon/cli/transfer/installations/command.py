"""`pinyon copy` between data folders and databases."""

import argparse
import sys

from pinyon.cli.common import Progress, counted
from pinyon.cli.transfer.installations.job import InstallationCopy
from pinyon.cli.transfer.installations.service_data import ServiceDataCopy, stores_of
from pinyon.cli.transfer.installations.snapshots import open_snapshot, remove_snapshot
from pinyon.cli.transfer.installations.state import CopyState, interrupted, state_file
from pinyon.cli.transfer.installations.verification import verify
from pinyon.cli.transfer.state_file import StateFile
from pinyon.errors import AlreadyExists, InvalidArgument, PinyonError
from pinyon.settings import StorageSettings
from pinyon.storage.engines import installation_of
from pinyon.storage.installation import Installation

NOT_COPIED = "ports, backups and their schedules, the list of imports, and unfinished re-embeddings."


async def copy(options: argparse.Namespace, source: StorageSettings, target: StorageSettings) -> int:
    """Copy the indexes of one installation to another, then compare them. Returns the exit status."""
    installations = installation_of(source), installation_of(target)
    places = [installation.location for installation in installations]
    if places[0] == places[1]:
        raise InvalidArgument(f"--from and --to are the same: {places[0]}")
    state = CopyState(places[0], places[1], options.index)
    file = state_file(state, options.state)
    if options.resume:
        state = interrupted(file, state)
    elif file.exists():
        raise AlreadyExists(
            f"A copy from {state.source} to {state.target} was interrupted; --resume goes on with it. To begin anew, "
            f"delete {file.path} and what it names: the folder, or the backups of the source"
        )
    with_keys = options.index is None and not options.without_keys
    try:
        if not state.is_verified:
            await _copy((source, target), installations[1], state, file, with_keys)
        await remove_snapshot(source, state)
    except (PinyonError, KeyboardInterrupt):
        if file.exists():
            print("The copy is not complete; the same command with --resume goes on with it.", file=sys.stderr)
        raise
    file.remove()
    print("Verified: every namespace and every record is the same on both sides, to the last bit.")
    print(f"Not copied: {NOT_COPIED if with_keys else 'API keys, ' + NOT_COPIED}")
    return 0


async def _copy(
    settings: tuple[StorageSettings, StorageSettings],
    target: Installation,
    state: CopyState,
    file: StateFile[CopyState],
    with_keys: bool,
) -> None:
    """settings: of source and target."""

    def save() -> None:
        file.write(state)

    engine = await target.open()
    try:
        snapshot = await open_snapshot(settings[0], state, save)
        try:
            stores = stores_of(settings[0], snapshot.files), stores_of(settings[1], engine.files)
            beside = ServiceDataCopy(snapshot, stores[0], engine, stores[1], state, save)
            with Progress("copy", "record") as progress:
                job = InstallationCopy(snapshot, engine, state, save, progress.tell)
                await job.check()
                if with_keys:  # before the records, so that nobody reads these without a key
                    await beside.check_keys()
                    await beside.copy_keys()
                await job.run()
            names = list(state.indexes or {})
            print(f"Copied {counted(state.copied, 'record')} of {_indexes(names)}.", flush=True)
            with Progress("verify", "record") as progress:
                await verify(snapshot, engine, names, state.copied, progress.tell)
            keys = await beside.copy_keys() if with_keys else 0  # again, because some may be new or revoked
            queries, measurements = await beside.copy_judgements(), await beside.copy_measurements()
            print(
                f"Copied {counted(keys, 'API key')}, {_queries(queries)} and {counted(measurements, 'measurement')}.",
                flush=True,
            )
        finally:
            await snapshot.close()
    except PinyonError:
        if not state.has_begun:  # there is nothing to go on with
            await remove_snapshot(settings[0], state)
            file.remove()
        raise
    finally:
        await engine.close()
    state.is_verified = True
    save()


def _indexes(names: list[str]) -> str:
    return f"{len(names)} {'index' if len(names) == 1 else 'indexes'}"


def _queries(number: int) -> str:
    return f"{number:,} judged {'query' if number == 1 else 'queries'}"
