"""The `pinyon` command as a user types it."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.running import PROJECT, RunningServer, config, environment


def pinyon(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        variables.setdefault("PINYON_STORAGE_DATA_DIR", folder + "/data")
        return subprocess.run(
            [sys.executable, "-m", "pinyon", *map(str, arguments)],
            cwd=PROJECT,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=300,
        )


LARGE = {"numpy", "torch", "apsw", "litestar", "asyncio"}


def test_a_command_whose_reader_has_left_ends_without_a_word() -> None:
    command = [sys.executable, "-m", "pinyon", "models", "list"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, cwd=PROJECT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=300)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_to_say_what_there_is_nothing_large_is_imported() -> None:
    told = (
        "import atexit, sys; from pinyon.cli.main import main; "
        f"atexit.register(lambda: print({LARGE} & set(sys.modules))); main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", told], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.endswith("\nset()\n"), done


def test_to_ask_whether_the_server_is_ready_nothing_large_is_imported(tmp_path: Path) -> None:
    asked = ["ready", "--data-dir", str(tmp_path), "--port", "1"]
    told = f"import sys; from pinyon.cli.main import main; main({asked}); print({LARGE} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", told], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done
    assert "nobody answers at http://127.0.0.1:1/ready" in done.stderr


FOR_FILES = {
    "pyarrow",
    "fsspec",
    "s3fs",
    "aiohttp",
    "markdown_it",
    "selectolax",
    "pypdf",
    "docx",
    "docutils",
    "watchfiles",
}


def test_to_serve_nothing_is_imported_that_only_files_need() -> None:
    told = f"import sys; import pinyon.cli.main, pinyon.asgi; print({FOR_FILES} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", told], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done


WHEN_NUMPY_IS_IMPORTED = """
import importlib.abc, os, sys
from pinyon.cli.main import main

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "numpy":
            print(os.environ.get("OPENBLAS_NUM_THREADS"), os.environ.get("HF_HUB_OFFLINE"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Finder())
main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_libraries_are_told_what_to_do_before_they_are_imported(command: str, tmp_path: Path) -> None:
    """numpy asks once how many threads its products may take; on a busy machine, several make searches slow."""
    variables = environment()
    variables.pop("OPENBLAS_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", WHEN_NUMPY_IS_IMPORTED, command, "--data-dir", str(tmp_path / "data")],
        cwd=PROJECT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines()[-1:] == ["1 1"], done


def test_help_names_the_commands() -> None:
    done = pinyon("--help")
    assert done.returncode == 0
    for command in ("serve", "doctor", "models", "keys", "certs"):
        assert command in done.stdout
    assert "--stand-ins" in pinyon("serve", "--help").stdout


NO_PORTS = ["serve", "--port", "0", "--index-ports", ""]
"""A server may be running on this machine, on the ports of the settings."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--host", "0.0.0.0"], "would let anybody on the network"),
        (["serve", "--config", "/nowhere.toml"], "Cannot read the settings file /nowhere.toml"),
        ([*NO_PORTS, "--data-dir", "/proc/nothing"], "/proc/nothing cannot be opened for writing"),
        (["models", "pull", "nope"], "Model 'nope' not found; known are"),
        (["models", "pull", "cohere-rerank-3.5"], "cannot be pulled: Cohere has not published its weights"),
        (["models", "pull", "all-MiniLM-L6-v2"], "it comes with Pinyon"),
        (["models", "pull", "bge-reranker-v2-m3", "--offline"], "the setting offline is on"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: list[str], message: str) -> None:
    done = pinyon(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("pinyon: ")
    assert "Traceback" not in done.stderr


def test_without_a_settings_file_the_quick_start_is_served_and_that_is_said() -> None:
    done = pinyon(*NO_PORTS, "--data-dir", "/proc/nothing")
    assert done.stdout.startswith("Settings: the quick start's, ")
    assert "quickstart.toml; name your own file with --config" in done.stdout


def test_a_reader_needs_no_index_of_the_quick_start_and_stops_when_nobody_reads_its_output(tmp_path: Path) -> None:
    server = RunningServer(config(tmp_path), tmp_path / "data")  # its index has another name than the quick start's
    done = pinyon("doctor", "--data-dir", tmp_path / "data")
    assert "quickstart.toml" in done.stdout
    assert server.stop() == 0
    command = [sys.executable, "-m", "pinyon", *NO_PORTS, "--read-only", "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(command, cwd=PROJECT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("is ready on" in line for line in process.stdout)
        process.stdout.close()  # nobody reads what it says any more; it stops all the same
        process.terminate()
        assert process.wait(300) == 0


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["serve", "--prot", "1"], "--port"), (["doktor"], "doctor"), (["keys", "lst"], "list")],
)
def test_what_was_perhaps_meant_is_said(arguments: list[str], meant: str) -> None:
    done = pinyon(*arguments)
    assert done.returncode == 2
    assert f"did you mean {meant}?" in done.stderr


def test_an_unknown_setting_says_what_was_perhaps_meant(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("[server]\nprot = 1\n")
    assert "did you mean port?" in pinyon("doctor", "--config", tmp_path / "p.toml").stderr


def test_the_model_list_says_who_answers() -> None:
    done = pinyon("models", "list", PINYON_MODELS_STAND_INS="true")
    assert done.returncode == 0
    assert "pinyon-late-interaction; stand-in-for=bge-reranker-v2-m3" in done.stdout


def test_doctor_reports_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    done = pinyon("doctor", "--config", config(tmp_path, "all-MiniLM-L6-v2"), "--data-dir", tmp_path / "data")
    assert done.returncode == 0, done.stdout
    for words in (
        "Python",
        "sqlite-vec v0.1.9",
        "ok    hypercorn",
        "GB free",
        "does not exist yet",
        "ok    model        all-MiniLM-L6-v2",
    ):
        assert words in done.stdout
    assert "`pinyon models pull bge-reranker-v2-m3` fetches them" in done.stdout


def test_doctor_fails_when_the_index_cannot_embed(tmp_path: Path) -> None:
    path = config(tmp_path, "multilingual-e5-large")
    assert pinyon("doctor", "--config", path).returncode == 0
    done = pinyon("doctor", "--config", path, "--no-stand-ins")
    assert done.returncode == 1
    assert "FAIL  model        Model 'multilingual-e5-large' cannot answer here" in done.stdout


def test_doctor_fails_where_the_server_would_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = pinyon("doctor", "--data-dir", tmp_path / "file")
    assert done.returncode == 1
    assert "is not a folder" in done.stdout

    folder = tmp_path / "some"
    folder.mkdir()
    assert pinyon("doctor", "--data-dir", folder).returncode == 0
    assert list(folder.iterdir()) == []

    server = RunningServer(config(tmp_path), tmp_path / "data")
    assert server.stop() == 0
    arguments = ("doctor", "--config", tmp_path / "pinyon.toml", "--data-dir", tmp_path / "data")
    done = pinyon(*arguments)
    assert done.returncode == 0
    assert "index        quickstart: 64 dimensions, cosine" in done.stdout
    config(tmp_path, metric="dotproduct")
    assert "metric is cosine on disk and dotproduct in the settings" in pinyon(*arguments).stdout
    (tmp_path / "data" / "indexes" / "quickstart.sqlite").write_bytes(b"damaged" * 10_000)
    done = pinyon(*arguments)
    assert done.returncode == 1
    assert "quickstart.sqlite is damaged" in done.stdout


def test_doctor_says_who_holds_the_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("held")
    server = RunningServer(config(folder), folder / "data")
    assert f"process {server.process.pid}" in pinyon("doctor", "--data-dir", folder / "data").stdout
    assert server.stop() == 0


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path / "data")]
    nowhere = pinyon("keys", "create", "app", *folder)
    assert (nowhere.returncode, nowhere.stdout) == (1, ""), "a key that nobody would know"
    assert f"There is no data folder at {tmp_path}/data" in nowhere.stderr
    (tmp_path / "data").mkdir()
    made = pinyon("keys", "create", "app", *folder)
    assert made.returncode == 0
    key = made.stdout.strip()
    assert key.startswith("pinyon_")
    assert "only time" in made.stderr
    listed = pinyon("keys", "list", *folder).stdout
    assert listed.startswith("app  (everything, since ") and key not in listed
    again = pinyon("keys", "create", "app", *folder)
    assert (again.returncode, "named app already" in again.stderr) == (1, True)
    assert pinyon("keys", "revoke", "app", *folder).returncode == 0
    none = pinyon("keys", "list", *folder)
    assert (none.stdout, none.stderr) == ("", "There is no key. `pinyon keys create NAME` makes one.\n")


def test_certificates_are_made_for_this_machine_and_other_names(tmp_path: Path) -> None:
    made = pinyon("certs", tmp_path / "certs", "--name", "search.lan", "--name", "10.1.2.3")
    assert made.returncode == 0
    names = [Path(line).name for line in made.stdout.splitlines()]
    assert names == ["ca.pem", "ca.key", "server.pem", "server.key", "bundle.pem"]
    assert "--tls-cert" in made.stderr and "SSL_CERT_FILE" in made.stderr


def test_ready_tells_whether_a_server_answers(hash_server: RunningServer) -> None:
    port = hash_server.url.rpartition(":")[2]
    assert pinyon("ready", "--port", port).returncode == 0
    nobody = pinyon("ready", "--port", "1")
    assert (nobody.returncode, "nobody answers at http://127.0.0.1:1/ready" in nobody.stderr) == (1, True)


def test_keys_say_what_they_are_for(tmp_path: Path) -> None:
    def keys(*told: str) -> subprocess.CompletedProcess[str]:
        return pinyon("keys", *told, "--data-dir", str(tmp_path / "data"))

    (tmp_path / "data").mkdir()
    assert keys("create", "all").returncode == 0
    limited = ("--scope", "read", "--scope", "write", "--index", "docs", "--namespace", "", "--rate", "5")
    assert keys("create", "app", *limited).returncode == 0
    listed = keys("list").stdout.splitlines()
    assert listed[0].startswith("all  (everything, since")
    assert listed[1].startswith("app  (read write, index docs, namespace __default__, 5 requests/s, since")
    for wrong, sentence in (
        (("--scope", "admin"), "invalid choice: 'admin'"),
        (("--rate", "0"), "invalid requests_per_second value"),
        (("--scope", "control", "--namespace", "a"), "cannot control indexes"),
    ):
        done = keys("create", "wrong", *wrong)
        assert done.returncode != 0
        assert sentence in done.stderr


def test_room_comes_back_and_copies_are_made_on_the_command_line(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    server = RunningServer(config(tmp_path), tmp_path / "data")
    with server.client() as client:
        rows = [{"_id": f"r{n}", "chunk_text": f"text {n}"} for n in range(90)]
        assert client.post("/records/namespaces/a/upsert", json=rows).status_code == 201
    done = pinyon("compact", "--data-dir", data)  # which says where its server is
    assert done.stdout.startswith("quickstart: "), done
    assert f"by the server on {server.url}" in done.stderr
    assert pinyon("ready", "--data-dir", data).stdout == "ready\n"
    assert "There is no data folder" in pinyon("compact", "--data-dir", tmp_path / "nope").stderr
    assert not (tmp_path / "nope").exists()
    assert pinyon("compact", "nothing", "--data-dir", data).stderr == (
        "pinyon: The server refuses: Index nothing not found.\n"
    )
    done = pinyon("backup", str(tmp_path / "copy"), "--data-dir", data)
    assert done.stdout == f"{tmp_path}/copy has a copy of quickstart\n", done
    assert server.stop() == 0
    assert pinyon("compact", "quickstart", "--data-dir", data).stdout.startswith("quickstart: ")
    assert "There is no index nothing" in pinyon("compact", "nothing", "--data-dir", data).stderr
    done = pinyon("restore", str(tmp_path / "copy"), "--data-dir", data)
    assert "is there already" in done.stderr
    assert pinyon("restore", str(tmp_path / "copy"), "--data-dir", str(tmp_path / "new")).returncode == 0
    server = RunningServer(config(tmp_path), tmp_path / "new")
    with server.client() as client:
        assert client.get("/describe_index_stats").json()["totalVectorCount"] == 90
    assert server.stop() == 0


def test_a_server_that_lacks_its_first_key_is_followed_by_the_command_that_it_names(tmp_path: Path) -> None:
    refused = pinyon("serve", "--host", "0.0.0.0", "--data-dir", tmp_path / "data")
    assert refused.returncode == 1
    (command,) = re.findall(r"`pinyon (keys create .*?)`", refused.stderr)
    made = pinyon(*command.replace("NAME", "app").split())
    assert made.returncode == 0, made.stderr
