"""The banner that the server prints once it can answer."""

import json
from pathlib import Path
from typing import Any

from pinyon.api.guard import is_loopback
from pinyon.domain import IndexSpec
from pinyon.server import Service
from pinyon.settings import FREE, Settings


def banner(service: Service) -> str:
    """What is served, by which models, where the data are, and a command to try."""
    settings, indexes = service.settings, service.parts.indexes
    url = service.addresses.local_url()
    trouble, unusable = indexes.embedders.failures(), indexes.unusable()
    failing = trouble.keys() | unusable.keys()
    but = f", but not {', '.join(sorted(failing))}; see below" if failing else ""
    lines = [f"Pinyon is ready on {url}{but}"]
    if service.addresses.public_url:
        lines.append(f"  public   {service.addresses.public_url}")
    for index in indexes.all():
        spec = index.spec
        lines.append(f"  index    {spec.name}: {_kind(spec)}, {spec.metric}, on {indexes.url(index)}")
        if spec.embed is not None:
            embedder = indexes.embedders.loaded(index)
            answer = embedder.label if embedder else f"nobody: {trouble.get(spec.name)}"
            lines.append(f"           field '{spec.embed.text_field}' embedded by {answer}")
            computed = service.catalog.computed(embedder.fingerprint) if embedder else ""
            if computed:
                lines.append(f"           {computed}")
    for name, reason in unusable.items():
        lines.append(f"  index    {name}: CANNOT BE USED. {reason}")
    for folder in service.parts.index_status.set_aside():
        lines.append(f"  aside    {Path(settings.storage.data_dir).resolve() / 'set-aside' / folder}")
    if not indexes.all() and not indexes.unusable():
        lines.append("  index    none yet; clients can create some, or the [index] table of the settings file one")
    if service.addresses.index_host:
        lines.append(f"  further  indexes under {service.addresses.index_host}")
    elif service.addresses.index_ports:
        ports = settings.server.index_ports
        free = service.addresses.index_ports if ports.startswith(FREE) else ()
        lines.append(f"  further  indexes on {f'{len(free)} free ports' if free else f'the ports {ports}'}")
    if settings.models.quick:
        lines.append("  QUICK    every model is a STAND-IN that knows only words, for tests (--quick)")
    for model in [] if settings.models.quick else service.inference.known_models():
        if model.answer is not None:
            stand_in = f": STAND-IN, answered by {model.answer.by}" if model.answer.stand_in else ""
            lines.append(f"  model    {model.name if stand_in else model.answer.label}{stand_in}")
    lines.append(f"  data     {service.installation.location}")
    if service.keys.required():
        lines.append("  keys     every request needs the header Api-Key")
    else:
        lines += _without_keys(settings)
        if indexes.default is not None and indexes.default not in failing:
            lines += ["Try it:", "  " + _example(url, indexes.spec(indexes.default), _trust(settings))]
    return "\n".join(lines)


def _without_keys(settings: Settings) -> list[str]:
    if is_loopback(settings.server.host) and not settings.server.insecure:
        who = "only programs on this machine are answered"
    else:
        who = "ANYBODY who reaches this address can read and change the data (--insecure)"
    return [f"  WARNING  no API key is set: {who}.", "           Make one with: pinyon keys create NAME"]


def _kind(spec: IndexSpec) -> str:
    return "sparse vectors" if spec.sparse else f"{spec.dimension} dimensions"


def _trust(settings: Settings) -> str:
    """The option with which curl trusts the certificate: the authority beside it that `pinyon certs` made."""
    if not settings.server.tls_cert:
        return ""
    authority = Path(settings.server.tls_cert).with_name("ca.pem")
    return f"--cacert {authority} " if authority.exists() else ""


def _example(url: str, spec: IndexSpec, trust: str) -> str:
    """A curl command that stores a record and searches for it."""
    if spec.embed is not None:
        record = {"_id": "a", spec.embed.text_field: "Apples are rich in fibre"}
        query = {"query": {"inputs": {"text": "healthy fruit"}, "top_k": 3}}
        paths = "/records/namespaces/demo/upsert", "/records/namespaces/demo/search"
        bodies: tuple[dict[str, Any], ...] = (record, query)
    else:
        values: dict[str, Any] = {"values": [1.0] * spec.dimension}
        if spec.sparse:
            values = {"sparseValues": {"indices": [1], "values": [1.0]}}
        vector = {"sparseVector": values["sparseValues"]} if spec.sparse else {"vector": values["values"]}
        paths = "/vectors/upsert", "/query"
        bodies = ({"vectors": [{"id": "a", **values}], "namespace": "demo"}, {**vector, "topK": 3, "namespace": "demo"})
    lines = (f"curl -s {trust}{url}{path} -d '{json.dumps(body)}'" for path, body in zip(paths, bodies, strict=True))
    return " && ".join(lines)
