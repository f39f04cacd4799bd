"""Copies what services store beside records: API keys, judgements and measurements. Then compares them."""

from pathlib import Path

import msgspec

from pinyon.auth.callers import KeyStore
from pinyon.auth.keys import Keys
from pinyon.auth.shared_keys import SharedKeyStore
from pinyon.cli.transfer.installations.snapshots import Save, Snapshot
from pinyon.cli.transfer.installations.state import CopyState
from pinyon.errors import FailedPrecondition
from pinyon.services.judgements import stored_measurements
from pinyon.services.judgements.stores import FolderJudgements, JudgementStore, SharedJudgements
from pinyon.settings import StorageSettings
from pinyon.shared_files import SharedFiles
from pinyon.storage.engine import Engine


class Stores(msgspec.Struct, frozen=True):
    """Where the services of an installation store what they need."""

    keys: KeyStore
    judgements: JudgementStore


def stores_of(settings: StorageSettings, shared: SharedFiles | None) -> Stores:
    """The stores of an installation. shared: its shared files, if it has any."""
    if shared is not None:
        return Stores(SharedKeyStore(shared), SharedJudgements(shared))
    folder = Path(settings.data_dir)
    return Stores(Keys(folder, ""), FolderJudgements(folder))


class ServiceDataCopy:
    """Copies to one target. Methods raise PinyonError.

    Keys and judgements are those that the source has by now, not those of the moment that the snapshot shows: a key
    that was revoked since must not be valid in the target. state: remembers which keys were copied.
    """

    def __init__(
        self, snapshot: Snapshot, source: Stores, target: Engine, stores: Stores, state: CopyState, save: Save
    ) -> None:
        self._snapshot, self._source, self._target, self._stores = snapshot, source, target, stores
        self._state, self._save = state, save
        self._names = list(state.indexes or {})

    async def check_keys(self) -> None:
        """Raises FailedPrecondition if a key of the source would be valid for other indexes of the target too."""
        others = {index.name for index in self._target.indexes()} - set(self._names)
        if not others:
            return
        for key in await self._source.keys.stored():
            if key.indexes is None or others & set(key.indexes):
                raise FailedPrecondition(
                    f"The target has other indexes, such as {min(others)}, and the key {key.name} of the source would "
                    "be valid for them too; --without-keys leaves the keys out"
                )

    async def copy_keys(self) -> int:
        """Give the target the keys of the source: their hashes, and what they allow. Returns how many there are.

        Those that were copied before and are revoked by now are revoked in the target too.
        """
        keys = await self._source.keys.stored()
        hashes = {key.sha256 for key in keys}
        for key in await self._stores.keys.stored():
            if key.sha256 in self._state.keys and key.sha256 not in hashes:
                await self._stores.keys.revoke(key.name)
        if keys:
            self._state.keys = sorted(hashes.union(self._state.keys))
            self._save()
            await self._stores.keys.add(keys)
        missing = hashes - {key.sha256 for key in await self._stores.keys.stored()}
        if missing:
            raise FailedPrecondition("The API keys are not the same in the source and in the copy")
        return len(keys)

    async def copy_judgements(self) -> int:
        """Copy the judgements of the indexes, and compare them. Returns how many judged queries there are."""
        copied = 0
        for name in self._names:
            for namespace in await self._source.judgements.namespaces(name):
                copied += await self._copy_judgements(name, namespace)
        return copied

    async def _copy_judgements(self, index: str, namespace: str) -> int:
        """Copy the judged queries of a namespace. Those that the target has of another index of this name stay."""
        queries, _ = await self._source.judgements.read(index, namespace)
        if not queries:
            return 0
        before, version = await self._stores.judgements.read(index, namespace)
        wanted = {**before, **queries}
        if wanted != before:
            await self._stores.judgements.write(index, namespace, wanted, version)
        copy, _ = await self._stores.judgements.read(index, namespace)
        if list(copy.items()) != list(wanted.items()):
            raise FailedPrecondition(
                f"The judgements of namespace '{namespace}' of index {index} are not the same in the source and in the "
                "copy"
            )
        return len(queries)

    async def copy_measurements(self) -> int:
        """Copy the measurements of the indexes, and compare them. Returns how many there are."""
        copied = 0
        for name in self._names:
            notes = stored_measurements.ended(await self._snapshot.notes(name))
            for note in notes:
                await self._target.put_note(name, note)
            if not set(notes) <= set(await self._target.notes(name)):
                raise FailedPrecondition(
                    f"The measurements of index {name} are not the same in the source and in the copy"
                )
            copied += len(notes)
        return copied
