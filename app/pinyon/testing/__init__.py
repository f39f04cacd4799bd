"""Test help for programs that use Pinecone's API: a server of their own, and a plugin for pytest.

`plugin.py` has the fixtures. `PinyonServer` is for every other test runner.
"""

from pinyon.testing.server import PinyonIndex, PinyonServer

__all__ = ["PinyonIndex", "PinyonServer"]
