"""Which pages there are: those in the navigation, those that they link to, and those with hostile addresses."""

import html
import re
from urllib.parse import quote, urlsplit

import httpx
import msgspec
from pinyon.console.pages import NAVIGATION
from pinyon.console.paths import LOGIN, ROOT

from tests.browser.content import ATTACKS, HOSTILE, HOSTILE_ID, LIBRARY, SCRIPT

LINK = re.compile(r'<a [^>]*href="([^"]+)"')
FILE = re.compile(r'(?:href|src)="(/console/static/[^"]+)"')


class Page(msgspec.Struct, frozen=True):
    """A page of the console. name: of its pictures. status: of its answer. weight: bytes, with the files it loads."""

    name: str
    path: str
    status: int
    weight: int


def address(path: str, **values: str) -> str:
    """A page with its state in the address."""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in {"index": "quickstart", **values}.items())
    return f"{path}?{query}"


def of_namespace(name: str, query: str, record: str) -> dict[str, str]:
    """Pages about a namespace: a name for the pictures, and an address."""
    return {
        "search": address(ROOT, namespace=name, q=query),
        "records": address(f"{ROOT}/browse", namespace=name, facet="topic"),
        "record": address(f"{ROOT}/record", namespace=name, id=record),
        "record-edit": address(f"{ROOT}/record/edit", namespace=name, id=record),
        "record-delete": address(f"{ROOT}/record/delete", namespace=name, id=record),
        "record-add": address(f"{ROOT}/record/add", namespace=name),
    }


def known() -> dict[str, str]:
    """Pages by the name of their pictures, in the order in which they are walked."""
    attack = " ".join(ATTACKS).replace("\x00", "")
    hostile = {f"hostile-{name}": path for name, path in of_namespace(HOSTILE, f"apples {SCRIPT}", HOSTILE_ID).items()}
    return {
        **{f"page-{name}": path for name, _, path in NAVIGATION},
        "login": LOGIN,
        **of_namespace(LIBRARY, "how to prevent disease", "note-03"),
        **hostile,
        "hostile-record-long": address(f"{ROOT}/record", namespace=HOSTILE, id="long"),
        "hostile-search-long": address(ROOT, namespace=HOSTILE, q="unbroken " + "q" * 2_000, show="dense"),
        "hostile-search-like": address(ROOT, namespace=HOSTILE, id=HOSTILE_ID),
        "hostile-facet": address(f"{ROOT}/browse", namespace=HOSTILE, facet="note"),
        "hostile-query": address(ROOT, namespace=HOSTILE, q=attack),
        "hostile-filter": address(f"{ROOT}/browse", namespace=HOSTILE, filter=attack, column=attack, facet=attack),
        "error": address(f"{ROOT}/record", namespace=LIBRARY, id=SCRIPT),
    }


def found(client: httpx.Client) -> list[Page]:
    """Every page: the known ones, and one of each further path that a page links to."""
    waiting = known()
    pages: list[Page] = []
    paths = {urlsplit(path).path for path in waiting.values()}
    sizes: dict[str, int] = {}
    while waiting:
        name, path = next(iter(waiting.items()))
        del waiting[name]
        answer = client.get(path)
        if "text/html" not in answer.headers.get("content-type", ""):
            continue  # a download
        for file in FILE.findall(answer.text):
            if file not in sizes:
                sizes[file] = len(client.get(file).raise_for_status().content)
        weight = len(answer.content) + sum(sizes[file] for file in set(FILE.findall(answer.text)))
        pages.append(Page(name, path, answer.status_code, weight))
        for link in map(html.unescape, LINK.findall(answer.text)):
            parts = urlsplit(link)
            if parts.path.startswith(ROOT) and not parts.netloc and parts.path not in paths:
                paths.add(parts.path)
                waiting[parts.path.removeprefix(ROOT).strip("/").replace("/", "-")] = link
    return pages
