"""What is asked over both protocols, and what only REST can say."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the gRPC half of questions marked rest_only: there is nothing to run, and so nothing to skip."""

    def cannot_be_said(item: pytest.Item) -> bool:
        chosen = item.callspec.params.get("protocol") if hasattr(item, "callspec") else None
        return chosen == "grpc" and item.get_closest_marker("rest_only") is not None

    left_out = [item for item in items if cannot_be_said(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not cannot_be_said(item)]
