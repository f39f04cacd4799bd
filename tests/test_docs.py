"""The pages name only what is there, and ARCHITECTURE.md stays one page."""

import re
import tomllib
from pathlib import Path

import pytest
from pinyon.settings_loader import table

from tests.running import PROJECT

PAGES = [
    *PROJECT.glob("*.md"),
    *PROJECT.glob("docs/**/*.md"),
    *PROJECT.glob("models/*/README.md"),
    *PROJECT.glob("benchmarks/*.md"),
    *PROJECT.glob("app/**/*.md"),
]
ARCHITECTURE = (PROJECT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(PROJECT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_of_the_project_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"`((?:app|tests|benchmarks|training|docs|config|models|pinyon)/[\w./-]*)`", page.read_text(encoding="utf-8")
    )
    roots = (PROJECT, PROJECT / "app")
    # Weights and what is measured there are made where Pinyon runs.
    missing = [
        name
        for name in named
        if not name.startswith("models/weights") and not any((root / name).exists() for root in roots)
    ]
    assert not missing


def test_every_room_in_the_picture_is_there() -> None:
    picture = ARCHITECTURE.split("```")[3]
    package = PROJECT / "app" / "pinyon"
    places = [package, *(package / room for room in ("storage/sqlite", "services", "inference"))]
    rooms = set(re.findall(r"\b[\w/]+/(?= )|\b[\w/]+\.py\b", picture))
    assert len(rooms) > 20
    assert not {room for room in rooms if not any((place / room).exists() for place in places)}


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines]
    packages = {re.split(r"[^\w-]", line)[0] for line in [*project["dependencies"], *extras]}
    reasons = ARCHITECTURE.split("## Dependencies")[1]
    assert not {package for package in packages if not re.search(rf"\b{re.escape(package)}\b", reasons)}


def test_architecture_is_one_page() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    known = {(row.section, row.key) for row in table()}
    named = set(re.findall(r"`\[(\w+)\] (\w+)", page.read_text(encoding="utf-8")))
    assert not named - known
