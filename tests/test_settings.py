"""Settings: one table, three spellings, clear refusals."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pinyon.errors import FailedPrecondition
from pinyon.settings import OwnModel, Settings
from pinyon.settings_loader import load, table
from pinyon.shipped import SHIPPED, shipped_model

DOCUMENT = (SHIPPED / "config" / "pinyon.toml").read_text()


def test_the_document_lists_every_setting_with_its_default_and_its_sentence() -> None:
    # The [index] section is commented out there, because without it there is no index. So is a model of one's own.
    uncommented = "".join(
        line.removeprefix("# ") if line.startswith(("# [index]", "# [models.")) or " = " in line else line
        for line in DOCUMENT.splitlines(keepends=True)
    )
    documented = tomllib.loads(uncommented)
    own = documented["models"].pop("my-model")
    assert list(own) == [field.name for field in msgspec.structs.fields(OwnModel)]
    assert msgspec.convert(own, OwnModel)
    for row in table():
        value = documented[row.section].pop(row.key)
        if row.default is not msgspec.NODEFAULT:
            assert value == (list(row.default) if isinstance(row.default, tuple) else row.default), row.key
        assert f"# {row.sentence}\n" in DOCUMENT, row.key
    assert not any(documented.values()), "settings that do not exist"


def test_the_document_itself_loads_as_the_defaults() -> None:
    assert load(SHIPPED / "config" / "pinyon.toml") == Settings()


def test_the_quick_start_serves_one_index_with_stand_ins() -> None:
    settings = load(SHIPPED / "config" / "quickstart.toml")
    assert settings.models.stand_ins
    assert settings.index is not None
    assert (settings.index.name, settings.index.model, settings.index.metric) == (
        "quickstart",
        "all-MiniLM-L6-v2",
        "cosine",
    )
    assert settings.index.field_map == {"text": "chunk_text"}
    assert settings.server.port == 5080


def test_environment_beats_file_and_option_beats_environment(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[server]\nport = 1\nhost = 'localhost'\n[models]\nstand_ins = true\n")
    environment = {"PINYON_SERVER_PORT": "2", "PINYON_MODELS_STAND_INS": "false", "HOME": "/root"}
    assert load(file).server.port == 1
    settings = load(file, environment)
    assert (settings.server.port, settings.server.host, settings.models.stand_ins) == (2, "localhost", False)
    assert load(file, environment, {"port": "3"}).server.port == 3
    of_a_list = {"PINYON_STORAGE_ENGINE": "sqlite", "PINYON_SERVER_LOG_LEVEL": "debug"}
    settings = load(file, of_a_list, {"log_level": "error"})
    assert (settings.storage.engine, settings.server.log_level) == ("sqlite", "error")


@pytest.mark.parametrize(
    ("text", "environment", "flags", "message"),
    [
        ("[server]\nprot = 1", {}, {}, "Wrong setting in the settings file .*unknown field `prot`"),
        ("[server]\nport = '1'", {}, {}, r"Expected `int`, got `str` - at `\$.server.port`"),
        ("[server]\nport = 70000", {}, {}, "Expected `int` <= 65535"),
        ("x = [", {}, {}, "is not valid TOML"),
        ("[index]\nmodel = 'a'", {}, {}, "missing required field `name`"),
        ("[index]\nname = 'A_b'\nmodel = 'm'", {}, {}, r"Expected 1 to 45 lower-case letters, .* at `\$.index.name`"),
        ("[index]\nname = 'a'\nmodel = 'm'\nmetric = 'l2'", {}, {}, "Invalid enum value 'l2'"),
        ("[index]\nname = 'a'\nmodel = 'm'\nfield_map = { image = 'x' }", {}, {}, "image"),
        ("[index]\nname = 'a'\nmetric = 'l2'", {}, {}, "allowed are: '', 'cosine', 'dotproduct', 'euclidean'"),
        ("[storage]\nengine = 'other'", {}, {}, "Invalid enum value 'other' .*; allowed are: 'sqlite'"),
        ("", {"PINYON_STORAGE_ENGINE": "x"}, {}, "in the variable PINYON_STORAGE_ENGINE: .*; allowed are: 'sqlite'"),
        ("", {}, {"log_level": "x"}, "in the option --log-level: .*; allowed are: 'debug', 'info', 'warning', 'error'"),
        # Each would be the schema of an index or of a backup of another installation, or PostgreSQL's own.
        ("[storage]\nschema = 'pinyon_1'", {}, {}, r"Expected 1 to 40 .* no underscore with .* at `\$.storage.schema`"),
        ("[storage]\nschema = 'pinyon_backup'", {}, {}, "no _backup"),
        ("[storage]\nschema = 'pg_x'", {}, {}, "neither pg_ in front"),
        ("[storage]\nschema = 'information_schema'", {}, {}, "nor information_schema"),
        (
            "[models.mine]\nsource = 'mine'",
            {},
            {},
            r"Expected hub:OWNER/NAME, .* a folder - at `\$.models\[...\].source`",
        ),
        ("[models]\nown = 3", {}, {}, "Expected `object`, got `int` - at `\\$.models`"),
        ("[models.mine]\nquery_prefix = 'q: '", {}, {}, "missing required field `source`"),
        ("[models.mine]\nsource = '/mine'\npoling = 'cls'", {}, {}, "unknown field `poling` .*; did you mean pooling"),
        ("", {"PINYON_SERVER_PROT": "1"}, {}, "Unknown variable PINYON_SERVER_PROT; did you mean PINYON_SERVER_PORT"),
        ("", {"PINYON_SERVER_PORT": "x"}, {}, "Wrong setting in the variable PINYON_SERVER_PORT"),
        ("", {}, {"port": "x"}, "Wrong setting in the option --port"),
    ],
)
def test_a_wrong_setting_is_refused_and_named(
    tmp_path: Path, text: str, environment: dict[str, str], flags: dict[str, Any], message: str
) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    with pytest.raises(FailedPrecondition, match=message):
        load(file, environment, flags)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"Cannot read the settings file .*nothing\.toml"):
        load(tmp_path / "nothing.toml")


def test_names_of_options_are_unique() -> None:
    keys = [row.key for row in table() if row.simple]
    assert len(keys) == len(set(keys))


def test_a_models_folder_without_a_catalogue_of_its_own_has_the_shipped_one(tmp_path: Path) -> None:
    assert shipped_model(tmp_path, "manifest.toml") == SHIPPED / "models" / "manifest.toml"
    own = tmp_path / "manifest.toml"
    own.write_text("")
    assert shipped_model(tmp_path, "manifest.toml") == own


def test_a_section_below_models_is_a_model_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(
        "[models]\nthreads = 2\npaths = { known = '/known' }\n[models.mine]\nsource = '/mine'\nquery_prefix = 'q: '\n"
        "[models.other]\nsource = 'hub:owner/name@main'\n"
    )
    settings = load(file, {"PINYON_MODELS_QUEUE": "3"})
    assert settings.models.own == {
        "mine": OwnModel("/mine", query_prefix="q: "),
        "other": OwnModel("hub:owner/name@main"),
    }
    assert (settings.models.threads, settings.models.queue, settings.models.paths) == (2, 3, {"known": "/known"})


@pytest.mark.parametrize("schema", ["pinyon", "pinyon2", "_1a", "a_1b", "pinyon_backups", "pinyon_backup_of_mine"])
def test_a_schema_that_no_index_can_have_is_allowed(schema: str) -> None:
    assert load(None, {"PINYON_STORAGE_SCHEMA": schema}, {}).storage.schema == schema
