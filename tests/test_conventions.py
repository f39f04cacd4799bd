"""What every test keeps to."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CALLS = {"get", "post", "put", "patch", "delete", "head", "options", "request", "stream", "Client", "AsyncClient"}


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_judges_a_busy_machine_by_the_5_seconds_of_httpx(path: Path) -> None:
    impatient = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "httpx"
        and node.func.attr in CALLS
        and not any(keyword.arg in ("timeout", None) for keyword in node.keywords)
    ]
    assert not impatient, "name a timeout, such as timeout=60"
