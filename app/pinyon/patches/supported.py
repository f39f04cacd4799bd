"""Checks that the software a patch changes is the software the patch was tested with."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from packaging.specifiers import SpecifierSet

from pinyon.errors import FailedPrecondition


@cache
def check_version(distribution: str, supported: str) -> None:
    """Raises FailedPrecondition unless the installed version is in the range, which is spelled as pip spells it."""
    try:
        installed = version(distribution)
    except PackageNotFoundError:
        installed = "no version"
    if installed == "no version" or not SpecifierSet(supported).contains(installed, prereleases=True):
        raise FailedPrecondition(
            f"Pinyon changes {distribution} at run time and supports {distribution}{supported} only; "
            f"{installed} is installed. Run: pip install '{distribution}{supported}'"
        )


def check_shape(distribution: str, fits: bool, what: str) -> None:
    """Raises FailedPrecondition if a part of the distribution is not what the patch expects."""
    if not fits:
        raise FailedPrecondition(
            f"Pinyon changes {distribution} at run time, and {distribution} {version(distribution)} is built "
            f"differently: {what} is not what Pinyon expects. Install a version that Pinyon was tested with; "
            "app/pinyon/patches/README.md lists them"
        )


def check_parameters(distribution: str, expected: Mapping[Callable[..., Any], str]) -> None:
    """Raises FailedPrecondition unless each function takes exactly these parameters, separated by spaces."""
    for function, names in expected.items():
        parameters = " ".join(inspect.signature(function).parameters)
        check_shape(distribution, parameters == names, f"{function.__qualname__}({parameters.replace(' ', ', ')})")
