"""`pinyon certs`: a chain that TLS clients accept."""

import socket
import ssl
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from pinyon.cli.certificates import make
from pinyon.cli.client.transport import HttpTransport
from pinyon.errors import FailedPrecondition, Unavailable


def handshake(folder: Path, trust: Path, name: str) -> None:
    """A TLS connection to a server with the folder's certificate, from a client that trusts one file."""
    server_side, client_side = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem", folder / "server.key")

    def serve() -> None:
        try:
            server.wrap_socket(server_side, server_side=True).close()
        except ssl.SSLError:
            server_side.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client = ssl.create_default_context(cafile=str(trust))
        client.wrap_socket(client_side, server_hostname=name).close()
    finally:
        client_side.close()
        thread.join()


@pytest.mark.anyio
async def test_a_command_that_does_not_trust_a_certificate_says_how_to(tmp_path: Path) -> None:
    make(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                server.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        transport = HttpTransport("", ssl.create_default_context())
        with pytest.raises(Unavailable, match=r"is not trusted: .*SSL_CERT_FILE"):
            await transport.send("GET", f"https://127.0.0.1:{listener.getsockname()[1]}", "/health", b"")
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "search.lan", "10.1.2.3"])
@pytest.mark.parametrize("trust", ["ca.pem", "bundle.pem"])
def test_clients_that_trust_the_authority_connect(tmp_path: Path, trust: str, name: str) -> None:
    make(tmp_path, ["search.lan", "10.1.2.3"])
    handshake(tmp_path, tmp_path / trust, name)


def test_other_names_and_other_authorities_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(tmp_path / "a", tmp_path / "a" / "ca.pem", "search.lan")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path / "a", tmp_path / "b" / "ca.pem", "localhost")


def test_the_authority_is_kept_and_keys_are_private(tmp_path: Path) -> None:
    make(tmp_path)
    authority, server = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "server.pem").read_bytes()
    make(tmp_path, ["search.lan"])
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert (tmp_path / "server.pem").read_bytes() != server
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert (tmp_path / "bundle.pem").read_bytes().count(b"BEGIN CERTIFICATE") > 50
    handshake(tmp_path, tmp_path / "ca.pem", "search.lan")


def test_an_authority_without_its_key_is_not_replaced(tmp_path: Path) -> None:
    make(tmp_path)
    authority = (tmp_path / "ca.pem").read_bytes()
    (tmp_path / "ca.key").unlink()
    with pytest.raises(FailedPrecondition, match="is there without its key"):
        make(tmp_path)
    assert (tmp_path / "ca.pem").read_bytes() == authority


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition, match="Cannot write certificates to"):
        make(tmp_path / "file")
