"""docs/scale.md and its examples: files that can be read, with settings that exist. Nothing here runs a container."""

import os
import re
from typing import Any

import pytest
import yaml
from pinyon.settings_loader import table

from tests.running import PROJECT

EXAMPLES = PROJECT / "docs" / "examples"
VARIABLES = {row.variable for row in table()}


def pinyon_variables(names: list[str]) -> set[str]:
    return {name for name in names if name.startswith("PINYON_")}


def test_the_compose_file_names_settings_and_files_that_exist() -> None:
    compose: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
    services = compose["services"]
    assert services["pinyon-1"] == services["pinyon-2"]
    variables = pinyon_variables(list(services["pinyon-1"]["environment"]))
    assert variables and variables <= VARIABLES
    mounted = [str(volume).split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    files = [name for name in mounted if name.startswith("./")]
    assert files and all((EXAMPLES / name).is_file() for name in files)
    assert {name for name in mounted if not name.startswith("./")} <= set(compose["volumes"])
    for service in services.values():
        assert set(service.get("depends_on", [])) <= set(services)


def test_the_balancer_knows_the_processes_of_the_compose_file() -> None:
    servers = re.findall(r"^ +server (\S+) (\S+):5080$", (EXAMPLES / "haproxy.cfg").read_text(), re.MULTILINE)
    assert servers == [("pinyon-1", "pinyon-1"), ("pinyon-2", "pinyon-2")]


def test_the_kubernetes_sketch_names_settings_that_exist() -> None:
    deployment, service, budget = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    variables = pinyon_variables([variable["name"] for variable in container["env"]])
    assert variables and variables <= VARIABLES
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels == service["spec"]["selector"] == budget["spec"]["selector"]["matchLabels"]


def test_an_image_has_what_the_examples_need() -> None:
    installed = re.search(r"'\.\[([\w,]+)\]'", (PROJECT / "Dockerfile").read_text())
    assert installed is not None
    assert "postgres" in installed[1].split(",")


@pytest.mark.parametrize("name", sorted(os.listdir(EXAMPLES)))
def test_the_page_names_every_example(name: str) -> None:
    assert f"(examples/{name})" in (PROJECT / "docs" / "scale.md").read_text()
