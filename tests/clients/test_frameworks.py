"""What builds on Pinecone's client, with only the key and the address of the controller changed."""

from pathlib import Path

import pytest

from tests.clients.environments import python_with
from tests.clients.running import ClientsServer, run_script

pytestmark = pytest.mark.clients

SCRIPTS = Path(__file__).parent / "python"


@pytest.mark.parametrize("framework", ["langchain", "llama-index", "haystack"])
def test_vector_stores_of_frameworks_work(framework: str, tls_server: ClientsServer) -> None:
    script = SCRIPTS / f"{framework.replace('-', '_')}_store.py"
    run_script([python_with(framework), script], tls_server.environment)
