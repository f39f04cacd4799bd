"""Whether the SDK of the Model Context Protocol is installed."""

from pinyon.errors import FailedPrecondition


def require_sdk() -> None:
    """Raises FailedPrecondition if the SDK is not installed."""
    try:
        import mcp  # noqa: F401
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"Tools for agents (MCP) need the package {error.name}, which is not installed; install it with: "
            "pip install 'pinyon[mcp]'"
        ) from error
