"""Every index is reached where describe_index says, through restarts, busy ports, host names and proxies."""

import socket
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from pinyon.api.grpc import vector_service_pb2 as pb
from pinyon.cli.main import main

from tests.api.grpc_transport import method
from tests.running import RunningServer, free_ports, plain_config

SPEC = {"serverless": {"cloud": "aws", "region": "us-east-1"}}


def create(server: RunningServer, name: str, dimension: int = 2) -> httpx.Response:
    with server.client() as client:
        return client.post("/indexes", json={"name": name, "dimension": dimension, "spec": SPEC})


def hosts(server: RunningServer) -> dict[str, str]:
    with server.client() as client:
        return {index["name"]: index["host"] for index in client.get("/indexes").json()["indexes"]}


def dimension(url: str, **headers: str) -> Any:
    answer = httpx.post(f"{url}/describe_index_stats", headers=headers, timeout=60)
    return answer.json()["dimension"] if answer.status_code == 200 else answer.json()["message"]


def settings(folder: Path) -> Path:
    return plain_config(folder, "dimension = 7")


def test_ports_stay_through_restarts_and_run_out_with_a_reason(tmp_path: Path) -> None:
    ports = free_ports(2)
    first, last = ports.split("-")
    server = RunningServer(settings(tmp_path), tmp_path / "data", "--index-ports", ports)
    assert create(server, "one", 3).json()["host"].endswith(f":{first}")
    assert create(server, "two", 4).json()["host"].endswith(f":{last}")
    full = create(server, "three")
    assert (full.status_code, full.json()["error"]["code"]) == (403, "FORBIDDEN")
    assert "No port is left for the index three" in full.json()["error"]["message"]
    assert "three" not in hosts(server)
    with server.client() as client:
        assert client.delete("/indexes/one").status_code == 202
    before = hosts(server)
    server.stop()

    server = RunningServer(settings(tmp_path), tmp_path / "data", "--index-ports", ports)
    after = hosts(server)
    assert after["two"] == before["two"]
    assert [dimension(after["vectors"]), dimension(after["two"])] == [7, 4]
    assert "No index answers on port" in dimension(f"http://localhost:{first}")
    server.stop()


def test_a_busy_port_is_left_out_with_a_warning(tmp_path: Path) -> None:
    ports = free_ports(3)
    first = int(ports.split("-")[0])
    server = RunningServer(settings(tmp_path), tmp_path / "data", "--index-ports", ports)
    assert create(server, "one", 3).status_code == 201
    server.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        server = RunningServer(settings(tmp_path), tmp_path / "data", "--index-ports", ports)
        assert f"left out: {first}" in server.text
        # The index keeps its port, so that nobody writes into another one; it says that it is not ready.
        assert "index one cannot be reached" in server.text
        with server.client() as client:
            assert client.get("/indexes/one").json()["status"] == {"ready": False, "state": "Disabled"}
        made = create(server, "two", 4).json()
        assert made["host"].endswith(f":{first + 1}")
        assert dimension(made["host"]) == 4
        server.stop()
    server = RunningServer(settings(tmp_path), tmp_path / "data", "--index-ports", ports)
    assert dimension(hosts(server)["one"]) == 3
    server.stop()


def test_the_main_port_is_never_an_indexs_port(tmp_path: Path) -> None:
    ports = free_ports(3)
    first = ports.split("-")[0]
    server = RunningServer(settings(tmp_path), tmp_path / "data", "--index-ports", ports)
    assert create(server, "one", 3).json()["host"].endswith(f":{first}")
    server.stop()
    server = RunningServer(settings(tmp_path), tmp_path / "data", "--index-ports", ports, "--port", first)
    moved = hosts(server)["one"]
    assert not moved.endswith(f":{first}")
    assert [dimension(moved), dimension(server.url)] == [3, 7]
    server.stop()


def test_without_room_for_indexes_create_says_how_to_make_some(tmp_path: Path) -> None:
    server = RunningServer(settings(tmp_path), tmp_path / "data")
    answer = create(server, "one")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "FAILED_PRECONDITION")
    assert "--index-ports" in answer.json()["error"]["message"]
    server.stop()


def test_a_host_name_leads_to_its_index_over_both_protocols(tmp_path: Path) -> None:
    server = RunningServer(settings(tmp_path), tmp_path / "data", "--index-host", "{index}.search.localhost")
    port = server.url.rpartition(":")[2]
    assert create(server, "one", 3).json()["host"] == f"http://one.search.localhost:{port}"
    assert hosts(server)["vectors"] == f"http://vectors.search.localhost:{port}"
    assert dimension(server.url, Host=f"one.search.localhost:{port}") == 3
    assert dimension(server.url, Host="vectors.search.localhost") == 7
    assert dimension(server.url) == 7
    assert dimension(server.url, Host="none.search.localhost") == "Index none not found."
    assert dimension(server.url, Host="one.search.localhost.") == 3
    named = [("grpc.default_authority", "one.search.localhost")]
    with grpc.insecure_channel(server.url.removeprefix("http://"), options=named) as channel:
        call = method(channel, "DescribeIndexStats", pb.DescribeIndexStatsRequest, pb.DescribeIndexStatsResponse)
        assert call(pb.DescribeIndexStatsRequest()).dimension == 3
    server.stop()


@pytest.mark.parametrize(
    ("options", "host"),
    [
        (["--index-ports", "PORTS"], "search.example.com:FIRST"),
        (["--index-host", "{index}.search.example.com"], "one.search.example.com"),
    ],
)
def test_behind_a_proxy_hosts_are_those_of_the_proxy(tmp_path: Path, options: list[str], host: str) -> None:
    ports = free_ports(1)
    told = [option.replace("PORTS", ports) for option in options]
    server = RunningServer(
        settings(tmp_path), tmp_path / "data", "--public-url", "https://search.example.com", *told, "--insecure"
    )
    assert create(server, "one").json()["host"] == host.replace("FIRST", ports.split("-")[0])
    server.stop()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--index-ports", "5081"], "index_ports"),
        (["--index-ports", "5090-5081"], "must be a range of ports"),
        (["--index-ports", "1-70000"], "must be a range of ports"),
        (["--index-ports", "free:"], "a number of free ones, such as free:20"),
        (["--ephemeral", "--data-dir", "data"], "leave out --data-dir"),
        (["--index-host", "search.example.com"], "index_host"),
        (["--index-host", "{index}{index}.example.com"], "index_host"),
        (["--public-url", "example.com"], "public_url"),
        (["--public-url", "https://example.com/path"], "public_url"),
        (["--public-url", "https://example.com:99999"], "public_url"),
        (["--public-url", "https://[::1"], "public_url"),
        (["--api-key", "two words"], "api_key"),
    ],
)
def test_wrong_addresses_are_refused_with_one_sentence(
    option: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *option]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("pinyon: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--tls-cert", "server.pem"], "needs both tls_cert and tls_key"),
        (["--tls-cert", "/nowhere/server.pem", "--tls-key", "/nowhere/server.key"], "/nowhere/server.pem"),
    ],
)
def test_certificates_that_cannot_be_used_are_refused_with_one_sentence(option: list[str], message: str) -> None:
    from tests.cli.test_cli import pinyon

    done = pinyon("serve", *option)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("pinyon: ") and "Traceback" not in done.stderr
