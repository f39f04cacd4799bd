"""API keys and TLS: every route of both protocols, over real sockets."""

import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from pinyon.api.grpc import vector_service_pb2 as pb
from pinyon.auth import keys
from pinyon.cli.certificates import make

from tests.api.grpc_transport import METHODS, method
from tests.api.rest.test_protocol import routes
from tests.running import RunningServer, config

KEY = "a-key-of-the-settings"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = tmp_path_factory.mktemp("guarded")
    make(chosen / "certs")
    return chosen


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[RunningServer]:
    """A server with TLS and a key, which pages of one origin may ask."""
    certs = folder / "certs"
    settings = config(folder, more='\n[server]\ncors_origins = ["https://app.example"]\n')
    tls = ("--tls-cert", str(certs / "server.pem"), "--tls-key", str(certs / "server.key"))
    server = RunningServer(settings, folder / "data", *tls, "--api-key", KEY)
    yield server
    assert server.stop() == 0, server.text


@pytest.fixture
def caller(guarded: RunningServer, folder: Path) -> Iterator[httpx.Client]:
    trust = ssl.create_default_context(cafile=str(folder / "certs" / "ca.pem"))
    with httpx.Client(base_url=guarded.url, verify=trust, timeout=60) as client:
        yield client


@pytest.fixture
def secure_channel(guarded: RunningServer, folder: Path) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials((folder / "certs" / "ca.pem").read_bytes())
    with grpc.secure_channel(guarded.url.removeprefix("https://"), credentials) as channel:
        yield channel


OPEN = ("/health", "/ready")


@pytest.mark.parametrize("headers", [{}, {"Api-Key": "wrong"}, {"Api-Key": ""}, {"Authorization": f"Basic {KEY}"}])
def test_no_route_answers_without_a_key_that_is_known(caller: httpx.Client, headers: dict[str, str]) -> None:
    for verb, path in [*routes(), ("GET", "/nope"), ("OPTIONS", "/query"), ("POST", "/health/x")]:
        answer = caller.request(verb, path, headers=headers, content=b"{not json")
        if path in OPEN:
            assert answer.status_code == 200
            continue
        assert answer.status_code == 401, (verb, path)
        body = answer.json()
        assert body.get("code", body.get("status")) in (16, 401)
        assert answer.headers["x-pinecone-request-id"]


def test_a_wrong_key_comes_before_everything_else(caller: httpx.Client) -> None:
    for path in ("/indexes/nope", "/models/nope"):
        answer = caller.get(path, headers={"Api-Key": "wrong"})
        assert answer.status_code == 401
        assert answer.json() == {"error": {"code": "UNAUTHENTICATED", "message": "Invalid API key."}, "status": 401}
    large = caller.post("/vectors/upsert", content=bytes(6_000_000))
    assert large.status_code == 401


@pytest.mark.parametrize("name", sorted({name for name, _, _ in METHODS.values()}))
def test_no_grpc_method_answers_without_a_key_that_is_known(secure_channel: grpc.Channel, name: str) -> None:
    request, response = next((ask, give) for found, ask, give in METHODS.values() if found == name)
    call = method(secure_channel, name, request, response)
    for metadata in ((), (("api-key", "wrong"),), (("authorization", KEY),)):
        with pytest.raises(grpc.RpcError) as raised:
            call(request(), metadata=metadata)
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_both_protocols_answer_with_the_key_on_one_port(caller: httpx.Client, secure_channel: grpc.Channel) -> None:
    assert caller.get("/indexes", headers={"api-key": KEY}).status_code == 200
    call = method(secure_channel, "DescribeIndexStats", pb.DescribeIndexStatsRequest, pb.DescribeIndexStatsResponse)
    assert call(pb.DescribeIndexStatsRequest(), metadata=(("api-key", KEY),)).dimension == 64


def test_rest_works_over_http_2_and_over_http_1(guarded: RunningServer, folder: Path) -> None:
    for version in ("--http2", "--http1.1"):
        command = ["curl", "-sS", version, "--cacert", folder / "certs" / "ca.pem", "-H", f"Api-Key: {KEY}"]
        told = [*command, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", f"{guarded.url}/indexes"]
        found = subprocess.run(told, capture_output=True, text=True, check=True).stdout
        assert found == {"--http2": "2 200", "--http1.1": "1.1 200"}[version]


def test_hosts_have_no_scheme_where_it_is_https(caller: httpx.Client, guarded: RunningServer) -> None:
    found = caller.get("/indexes/quickstart", headers={"Api-Key": KEY}).json()
    assert "https://" + found["host"] == guarded.url


@pytest.mark.data_folder
def test_keys_are_made_and_revoked_while_the_server_runs(caller: httpx.Client, folder: Path) -> None:
    made = keys.create(folder / "data", "app")
    assert caller.get("/indexes", headers={"Api-Key": made}).status_code == 200
    keys.revoke(folder / "data", "app")
    assert caller.get("/indexes", headers={"Api-Key": made}).status_code == 401


def test_a_page_of_a_listed_origin_may_ask_before_it_asks(caller: httpx.Client) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "api-key"}
    allowed = caller.options("/query", headers={"Origin": "https://app.example", **asks})
    assert allowed.status_code in (200, 204)
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert caller.options("/query", headers={"Origin": "https://other.example", **asks}).status_code == 401


def test_any_host_name_is_fine_with_a_key(caller: httpx.Client) -> None:
    answer = caller.get("/indexes", headers={"Api-Key": KEY, "Host": "search.example.com"})
    assert answer.status_code == 200


def test_the_banner_says_that_keys_are_asked_for_and_never_which(guarded: RunningServer) -> None:
    assert "every request needs the header Api-Key" in guarded.text
    assert KEY not in guarded.text


@pytest.mark.parametrize("verb", ["OPTIONS", "GET", "POST"])
def test_a_call_is_no_browsers_question(guarded: RunningServer, folder: Path, verb: str) -> None:
    """A preflight passes without a key; a call that looks like one must not."""
    asked = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    command = [
        "curl",
        "-sS",
        "--http2",
        "--cacert",
        folder / "certs" / "ca.pem",
        "-X",
        verb,
        "-D",
        "-",
        "-o",
        "/dev/null",
    ]
    told = [part for name, value in asked.items() for part in ("-H", f"{name}: {value}")]
    url = f"{guarded.url}/VectorService/DescribeIndexStats"
    body = ["--data-binary", "@-", url]
    found = subprocess.run([*command, *told, *body], input=bytes(5), capture_output=True, check=True).stdout
    assert b"grpc-status: 16" in found, found


def test_only_current_versions_of_tls_are_spoken(guarded: RunningServer) -> None:
    host, _, port = guarded.url.removeprefix("https://").partition(":")
    spoken = {}
    for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")  # so that the server alone decides
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        try:
            with socket.create_connection((host, int(port)), timeout=60) as raw, context.wrap_socket(raw) as secure:
                spoken[version] = secure.cipher()[0]  # type: ignore[index]
        except ssl.SSLError:
            spoken[version] = None
    assert spoken[ssl.TLSVersion.TLSv1_1] is None
    assert spoken[ssl.TLSVersion.TLSv1_2].startswith("ECDHE"), "with forward secrecy"
    assert spoken[ssl.TLSVersion.TLSv1_3].startswith("TLS_")
