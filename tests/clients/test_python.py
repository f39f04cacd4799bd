"""Pinecone's Python client, of three generations, with only the host and the key changed."""

from pathlib import Path

import pytest

from tests.clients.environments import python_with
from tests.clients.running import ClientsServer, run_script

pytestmark = pytest.mark.clients

SCRIPTS = Path(__file__).parent / "python"
CLIENTS = ["pinecone-7", "pinecone-9", "pinecone-10"]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_examples_of_the_reference_page_work(client: str, tls_server: ClientsServer) -> None:
    run_script([python_with(client), SCRIPTS / "reference_page.py"], tls_server.environment)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("transport", ["rest", "asyncio", "grpc"])
def test_a_tour_of_everything_works(client: str, transport: str, tls_server: ClientsServer) -> None:
    run_script([python_with(client), SCRIPTS / "tour.py", transport], tls_server.environment)


@pytest.mark.parametrize("client", CLIENTS)
def test_grpc_works_in_clear_text(client: str, clear_server: ClientsServer) -> None:
    told = {**clear_server.environment, "PINECONE_GRPC_SCHEME": "http"} if client == "pinecone-10" else None
    run_script([python_with(client), SCRIPTS / "clear_text.py"], told or clear_server.environment)
