"""Types are made ready for decoding under a lock."""

import ast
import subprocess
import sys

import msgspec
import pytest
from pinyon import decoding

from tests.running import PROJECT

APP = PROJECT / "app" / "pinyon"

MANY_THREADS = """
import sys, threading
import msgspec
from pinyon import decoding

sys.setswitchinterval(1e-5)
TEXT = b'{"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1}, "d": {"x": 1}}'
for turn in range(400):
    names = [f"Inner{turn}{letter}" for letter in "abcd"]
    for name in names:
        exec(f"class {name}(msgspec.Struct):\\n    x: 'int | None' = None")
    fields = "\\n".join(f"    {letter}: '{name} | None' = None" for letter, name in zip("abcd", names))
    exec(f"class Outer(msgspec.Struct):\\n{fields}")
    together = threading.Barrier(3)

    def read(outer):
        together.wait()
        assert decoding.decode(TEXT, outer).d.x == 1
        assert decoding.convert({"a": {"x": 1}}, outer).a.x == 1

    threads = [threading.Thread(target=read, args=(Outer,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("all were read")
"""


def test_several_threads_may_be_the_first_to_decode_a_type() -> None:
    run = subprocess.run([sys.executable, "-c", MANY_THREADS], cwd=APP.parent, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "all were read\n"), run.stderr


def test_a_value_is_decoded_and_converted_as_msgspec_does() -> None:
    assert decoding.decode(b"[1, 2]", list[int]) == [1, 2]
    assert decoding.convert("3", int, strict=False) == 3
    with pytest.raises(msgspec.ValidationError):
        decoding.convert("3", int)
    with pytest.raises(msgspec.ValidationError):
        decoding.decode(b'"3"', int)


def test_types_are_decoded_by_the_module_that_makes_them_ready() -> None:
    wrong = [
        f"{path.relative_to(APP)}:{node.lineno}"
        for path in APP.rglob("*.py")
        if path.name != "decoding.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _reads_annotations(node)
    ]
    assert not wrong, "use pinyon.decoding: threads that decode a Struct for the first time together crash msgspec"


def _reads_annotations(call: ast.Call) -> bool:
    """Whether msgspec gets a type here other than dict."""
    types = {
        "msgspec.json.decode": [*call.args[1:], *(keyword.value for keyword in call.keywords)],
        "msgspec.json.Decoder": [*call.args, *(keyword.value for keyword in call.keywords)],
        "msgspec.convert": call.args,
    }.get(ast.unparse(call.func), [])
    return any(ast.unparse(type) != "dict" for type in types)
