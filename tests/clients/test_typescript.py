"""Pinecone's TypeScript client, and curl, with only the host and the key changed."""

import pytest

from tests.clients.running import ClientsServer, run_script
from tests.clients.typescript_client import SCRIPTS, installed, need, node_environment

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("script", ["reference_page.mjs", "tour.mjs"])
def test_a_script_of_the_typescript_client_works(script: str, tls_server: ClientsServer) -> None:
    run_script(["node", str(installed() / script)], node_environment(tls_server))


def test_the_curl_examples_of_the_reference_page_work(tls_server: ClientsServer) -> None:
    need("bash", "curl", "python3")
    run_script(["bash", str(SCRIPTS / "curl_examples.sh")], node_environment(tls_server))
