"""What may be imported: nothing that the setting does not list, however it is written."""

import os
from pathlib import Path

import pytest
from pinyon.errors import InvalidArgument, PermissionDenied
from pinyon.services.imports import allow_list
from pinyon.services.imports.sources import NOT_ALLOWED, SourceFile, source_files

REMOTE = ["s3://mine/data", "gs://", "https://example.com/import/"]


def names(address: str, *allow: str) -> list[str]:
    return [file.name for file in allow_list.source(address, allow).files()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An allowed folder, beside one that is not."""
    for name in ("allowed/a", "allowed-too", "secret"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.jsonl").write_text('{"id": "a"}\n')
    return tmp_path


def test_paths_and_file_addresses_below_an_allowed_folder(folder: Path) -> None:
    allowed = str(folder / "allowed")
    for address in (allowed, f"{allowed}/", f"file://{allowed}", f"file://localhost{allowed}", f"{allowed}/a/../a/.."):
        assert names(address, allowed) == ["a/x.jsonl"]
    assert names(f"{allowed}/a/x.jsonl", allowed) == ["x.jsonl"]
    assert names(f"file://{allowed.replace('allowed', '%61llowed')}/a", "/nowhere", allowed) == ["x.jsonl"]


@pytest.mark.parametrize(
    "address", ["secret", "secret/x.jsonl", "nothing", "allowed-too", "allowed/../secret", "allowed/link", "allowed/..", "."]
)  # fmt: skip
def test_what_is_outside_is_refused_without_a_word_on_whether_it_is_there(folder: Path, address: str) -> None:
    (folder / "allowed" / "link").symlink_to(folder / "secret")
    for written in (f"{folder}/{address}", f"file://{folder}/{address}"):
        with pytest.raises(PermissionDenied) as refused:
            allow_list.source(written, [str(folder / "allowed")])
        assert refused.value.message == NOT_ALLOWED
        assert "allow" in NOT_ALLOWED and "[import]" in NOT_ALLOWED


def test_by_default_nothing_is_allowed(folder: Path) -> None:
    for address in (f"{folder}/allowed", "s3://mine/data", "https://example.com/import/x.jsonl"):
        with pytest.raises(PermissionDenied):
            allow_list.source(address, [])


def test_a_link_within_a_folder_must_not_lead_out_of_it(folder: Path) -> None:
    (folder / "allowed" / "link.jsonl").symlink_to(folder / "secret" / "x.jsonl")
    with pytest.raises(PermissionDenied):
        names(f"{folder}/allowed", f"{folder}/allowed")
    (folder / "allowed" / "link.jsonl").unlink()
    (folder / "allowed" / "again").symlink_to(folder / "allowed" / "a")
    (folder / "allowed" / "a" / "up").symlink_to(folder / "allowed")
    assert names(f"{folder}/allowed", f"{folder}/allowed") == ["a/x.jsonl", "again/x.jsonl"], "and a circle ends"


def test_a_file_that_becomes_a_link_is_not_read(folder: Path) -> None:
    source = allow_list.source(f"{folder}/allowed", [f"{folder}/allowed"])
    (file,) = source.files()
    os.remove(file.path)
    Path(file.path).symlink_to(folder / "secret" / "x.jsonl")
    with pytest.raises(PermissionDenied):
        source.open(file)
    os.remove(file.path)
    os.mkfifo(file.path)
    with pytest.raises(InvalidArgument, match="it is no file"):
        source.open(file)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("s3://mine/data", True),
        ("s3://mine/data/x.parquet", True),
        ("s3://mine/database", False),
        ("s3://mine", False),
        ("s3://minecraft/data", False),
        ("gs://any/thing", True),
        ("https://example.com/import/x.jsonl", True),
        ("https://example.com/import/x.jsonl?signature=1", True),
        ("https://EXAMPLE.com/import/x.jsonl", True),
        ("http://example.com/import/x.jsonl", False),
        ("https://example.com:8443/import/x.jsonl", False),
        ("https://example.com.evil.org/import/x.jsonl", False),
        ("https://example.com/other", False),
    ],
)
def test_remote_addresses_are_compared_name_by_name(address: str, allowed: bool) -> None:
    if allowed:
        allow_list.source(address, REMOTE)
    else:
        with pytest.raises(PermissionDenied):
            allow_list.source(address, REMOTE)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x" * 1_501,
        "relative/path",
        "file://host/path",
        "ftp://example.com/x",
        "/a\0b",
        "https://example.com/import/../secret",
        "https://example.com/import/%2e%2e/secret",
        "https://example.com/import/%2E./secret",
        "https://me@example.com/import/x",
        "https://example.com\\@evil.org/import/x",
        "https:///import/x",
        "s3://mine/data/../other",
        "s3://mine/data//x",
        "s3://",
        "https://example.com/import/x#y",
    ],
)
def test_what_is_no_plain_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument):
        allow_list.source(address, ["/", *REMOTE])


def test_folders_are_namespaces_and_hidden_or_foreign_files_are_left_out(tmp_path: Path) -> None:
    for name in (
        "x.jsonl",
        "b/y.csv",
        "b/deep/z.parquet",
        ".git/a.jsonl",
        "b/.part.jsonl",
        "README.txt",
        "__default__/w.tsv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1234")
    files = allow_list.source(str(tmp_path), [str(tmp_path)]).files()
    assert [(file.name, file.namespace, file.format, file.size) for file in files] == [
        ("__default__/w.tsv", "__default__", "tsv", 4),
        ("b/deep/z.parquet", "b", "parquet", 4),
        ("b/y.csv", "b", "csv", 4),
        ("x.jsonl", "__default__", "jsonl", 4),
    ]
    assert isinstance(files[0], SourceFile)


def test_an_address_without_files_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    for name, problem in (
        ("", "There is no file to import"),
        ("a.txt", "is not known"),
        ("b.csv", "cannot be read: No such file"),
    ):
        with pytest.raises(InvalidArgument, match=problem):
            names(f"{tmp_path}/{name}", str(tmp_path))


def test_folders_of_an_export_are_the_namespaces_that_they_were() -> None:
    paths = ["a%2Fb", "%2Ehidden", "100%"]
    files = source_files("/data", [(f"/data/{name}/x.jsonl", [name, "x.jsonl"], 1) for name in paths])
    assert {file.namespace for file in files} == {"a/b", ".hidden", "100%"}
