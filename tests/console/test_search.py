"""The search page: what it shows of a search, in which order, and what hostile content can do."""

import re
import shlex
from collections.abc import Callable, Iterator
from html import unescape
from urllib.parse import quote

import httpx
import msgspec
import pytest
from pinyon.console.page_weight import shortened, within
from pinyon.console.search import address
from pinyon.console.search.marking import QueryWords

from tests.console.conftest import Browser
from tests.running import RunningServer

NAMESPACE = "console-search"
SCRIPT = "<script>alert(1)</script>"
RECORDS: list[dict[str, object]] = [
    {"_id": "apple", "chunk_text": "Apples are a healthy fruit", "year": 2020, "kind": ["fruit", "red"]},
    {"_id": "pear", "chunk_text": "Pears are another fruit", "year": 2021},
    {"_id": "phone", "chunk_text": "A phone of the company", "year": 2022},
    {"_id": SCRIPT, "chunk_text": f"fruit {SCRIPT} <img src=x onerror=alert(2)>", '"><b>x</b>': '"><i>y</i>'},
    {"_id": "it's \"quoted\" & 'so'", "chunk_text": "fruit in quotes"},
    {"_id": "right-to-left", "chunk_text": "fruit \u202e استرجاع المعلومات", "عنوان": "قيمة"},
    {"_id": "emoji", "chunk_text": "fruit 🍎🍐 👩‍👩‍👧"},
    {"_id": "long", "chunk_text": "fruit " + "<&\"'" * 7_500},
    {"_id": "i" * 512, "chunk_text": "fruit " + "w" * 3_000, "n" * 200: "v" * 400},
]


@pytest.fixture(scope="module")
def browser(hash_server: RunningServer) -> Iterator[Browser]:
    with Browser(base_url=hash_server.url, timeout=60) as browser:
        body = b"\n".join(map(msgspec.json.encode, RECORDS))
        browser.post(f"/records/namespaces/{NAMESPACE}/upsert", content=body).raise_for_status()
        yield browser


@pytest.fixture
def search(browser: Browser) -> Callable[..., httpx.Response]:
    """Asks the page for a search."""
    return lambda **values: browser.get("/console", params={"namespace": NAMESPACE, **values})


Ask = Callable[..., httpx.Response]


def section(page: str, name: str) -> str:
    """The HTML of one column."""
    return next(part for part in page.split("<section")[1:] if f">{name.capitalize()}</h2>" in part)


def ids(column: str) -> list[str]:
    """The ids of the hits of a column, best first."""
    return [unescape(id) for id in re.findall(r"<strong>\d+\. <bdi>(.*?)</bdi>", column)]


def test_four_ways_to_search_stand_side_by_side_with_the_hits_of_the_api(browser: Browser, search: Ask) -> None:
    page = search(q="healthy fruit", top_k=3, rerank="bm25").text
    for retrieval in ("dense", "lexical", "hybrid"):
        body = {"query": {"inputs": {"text": "healthy fruit", "retrieval": retrieval}, "top_k": 3}}
        answer = browser.post(f"/records/namespaces/{NAMESPACE}/search", json=body).json()
        expected = [shortened(hit["_id"], 120) for hit in answer["result"]["hits"]]
        assert ids(section(page, retrieval)) == expected
    assert "read again by bm25" in section(page, "reranked")
    assert ids(section(page, "lexical"))[0] == "apple"


def test_the_address_says_which_columns_there_are(search: Ask) -> None:
    page = search(q="fruit", show=["lexical", "hybrid"]).text
    assert re.findall(r"<h2 id=\"column-\d\">(\w+)</h2>", page) == ["Lexical", "Hybrid"]
    wrong = search(q="fruit", show="best")
    assert (wrong.status_code, "There is no column" in unescape(wrong.text)) == (400, True)


def test_a_hit_names_its_rank_in_the_other_columns_and_how_it_moved(search: Ask) -> None:
    page = search(q="healthy fruit", show=["dense", "lexical"], top_k=9).text
    dense, lexical = ids(section(page, "dense")), ids(section(page, "lexical"))
    card = section(page, "lexical").split("<li")[1]
    rank = dense.index(lexical[0]) + 1
    assert f'<a href="#hit-0-{rank}">dense {rank}</a>' in card
    assert f'id="hit-0-{rank}"' in section(page, "dense")
    assert (f"▲ {rank - 1}" if rank > 1 else "=<span") in card
    assert page.count("<circle") == len(dense) + len(lexical)


def test_words_of_the_query_are_marked_and_nothing_else(search: Ask) -> None:
    page = search(q="healthy fruits", show="lexical").text
    apple = next(card for card in page.split("<li") if "<bdi>apple</bdi>" in card)
    assert re.findall("<mark>(.*?)</mark>", apple) == ["healthy", "fruit"]


def test_parts_of_a_score_times_and_tokens_are_shown(search: Ask) -> None:
    hybrid = section(search(q="healthy fruit").text, "hybrid")
    assert {"meaning", "words"} <= set(re.findall(r'<th scope="row">([\w ]+)', hybrid))
    assert re.search(r"<span>embed [\d.]+</span>\s*<span>search [\d.]+</span>\s*<span>\d+ tokens</span>", hybrid)


def test_a_filter_and_fields_hold_in_every_column(search: Ask) -> None:
    page = search(q="fruit", filter='{"year": {"$gte": 2021}}', fields="year", show=["dense", "lexical"]).text
    assert set(ids(section(page, "dense"))) == {"pear", "phone"}
    assert "<dt>year</dt>" in page and "another" not in page.split("search-columns")[1].split("<pre")[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"filter": "{year: 1"}, "The filter is no JSON"),
        ({"filter": '{"year": {"$atleast": 1}}'}, "$atleast"),
        ({"filter": "[" * 1_900}, "The filter is no JSON"),
        ({"top_k": "many"}, "must be a whole number from 1 to 12"),
        ({"top_k": "13"}, "must be a whole number from 1 to 12"),
        ({"top_k": "9" * 5_000}, "must be a whole number"),
        ({"depth": "101"}, "from 1 to 100"),
    ],
)
def test_what_is_wrong_with_a_search_is_said_beside_the_form(search: Ask, values: dict[str, str], words: str) -> None:
    answer = search(q="fruit", **values)
    assert answer.status_code == 400
    assert words in unescape(answer.text)
    assert 'value="fruit"' in answer.text


def test_a_problem_of_one_column_leaves_the_others(search: Ask) -> None:
    page = search(q="fruit", rerank="no-such-model").text
    assert ids(section(page, "lexical"))
    assert "no-such-model" in section(page, "reranked") and not ids(section(page, "reranked"))
    assert "<circle" not in search(q="fruit", rerank="no-such-model", show=["lexical", "reranked"]).text


def test_a_filter_is_checked_while_it_is_typed(browser: Browser) -> None:
    def check(text: str) -> object:
        return browser.get("/console/check-filter", params={"filter": text}).json()["problem"]

    assert check("") is None and check('{"a": 1}') is None
    assert "no JSON" in str(check("{")) and "$x" in str(check('{"a": {"$x": 1}}'))


def test_a_record_finds_those_that_are_like_it(browser: Browser, search: Ask) -> None:
    page = search(q="apple", show="lexical").text
    assert 'form="like" class="quiet" name="id" value="apple">Like this one' in page
    form = page.split('<form id="like"')[1].split("</form>")[0]
    hidden = re.findall(r'name="(\w+)" value="([^"]*)"', form)
    like = browser.get("/console", params=[*((name, unescape(value)) for name, value in hidden), ("id", "apple")]).text
    assert ids(section(like, "nearest"))[0] == "apple"
    assert "Records that are like" in like


def test_a_request_is_ready_to_copy_and_gives_these_hits(browser: Browser, search: Ask) -> None:
    page = search(q='it\'s a "fruit" & more', filter='{"year": {"$exists": true}}', show="hybrid").text
    python = unescape(re.findall(r"<pre[^>]*Python[^>]*><code>(.*?)</code>", page, re.DOTALL)[0])
    curl = unescape(re.findall(r"<pre[^>]*curl[^>]*><code>(.*?)</code>", page, re.DOTALL)[0])
    compile(python, "sample", "exec")
    words = shlex.split(curl.replace("\\\n", " "))
    answer = browser.post(words[2], content=words[words.index("-d") + 1]).raise_for_status().json()
    assert [hit["_id"] for hit in answer["result"]["hits"]] == ids(section(page, "hybrid"))
    assert "await index.searchRecords({" in unescape(page)


def test_hostile_content_is_text_and_the_page_stays_small(search: Ask) -> None:
    query = f'fruit "{SCRIPT}" <b>'
    answer = search(q=query, namespace=NAMESPACE)
    assert answer.status_code == 200
    assert len(answer.content) < 150_000
    for tag in ("<script>alert", "<img src=x", "<b>", "<i>y"):
        assert tag not in answer.text
    assert SCRIPT in ids(section(answer.text, "lexical"))
    assert "it's \"quoted\" & 'so'" in ids(section(answer.text, "lexical"))
    assert "more characters" in answer.text


@pytest.mark.parametrize("name", ["<b>", "a'b\"c&d", "x" * 512])
def test_a_namespace_of_any_name_can_be_searched(search: Ask, name: str) -> None:
    answer = search(q="fruit", namespace=name, show="lexical")
    assert (answer.status_code, "Nothing matches" in answer.text, "<b>" in answer.text) == (200, True, False)
    assert search(q="fruit", namespace="naïve").status_code == 200  # each column says what is wrong


def test_vectors_are_searched_by_id_and_by_vector(plain_servers: Callable[[str], RunningServer]) -> None:
    with Browser(base_url=plain_servers("cosine").url, timeout=60) as browser:
        vectors = [{"id": "east", "values": [1, 0]}, {"id": "north", "values": [0, 1]}]
        browser.post("/vectors/upsert", json={"vectors": vectors, "namespace": "console"}).raise_for_status()
        by_id = browser.get("/console?namespace=console&id=east").text
        assert ids(section(by_id, "nearest")) == ["east", "north"]
        by_vector = browser.get(f"/console?namespace=console&vector={quote('[0.1, 1]')}").text
        assert ids(section(by_vector, "nearest")) == ["north", "east"]
        assert "must be numbers" in browser.get("/console?namespace=console&vector=x").text
        assert "dimension" in browser.get("/console?namespace=console&vector=1").text


@pytest.mark.parametrize(
    ("query", "analysis", "text", "marked"),
    [
        ("running", "english", "She runs; the RUN was long", ["runs", "RUN"]),
        ("the cafe", "english", "the Café", ["Café"]),
        ("検索", "auto", "情報検索システム", ["検索"]),
        ("häuser", "german", "ein Haus", ["Haus"]),
        ("", "english", "nothing", []),
        ("🔥", "english", "🔥", []),
    ],
)
def test_words_are_marked_as_lexical_search_compares_them(
    query: str, analysis: str, text: str, marked: list[str]
) -> None:
    pieces = QueryWords(query, analysis).pieces(text)
    assert "".join(piece for piece, _ in pieces) == text
    assert [piece for piece, is_word in pieces if is_word] == marked


def test_a_text_is_cut_by_what_it_takes_as_html() -> None:
    assert within("plain", 10) == "plain"
    assert len(within('"' * 1_000, 300)) * len("&quot;") <= 300


def test_an_address_leads_to_the_same_search() -> None:
    search = address.PageSearch("i", "n", text='a&b "c"', filter='{"x": 1}', show=("lexical",))
    params = httpx.QueryParams(httpx.URL(search.address()).query)
    assert (params["q"], params["filter"], params.get_list("show")) == (search.text, search.filter, ["lexical"])
    assert address.PageSearch("i", "n").address() == "/console?index=i&namespace=n"
