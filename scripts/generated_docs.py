"""Writes the pages of settings, metrics and the API: ``python -m scripts.generated_docs [--check]``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic.fields import FieldInfo

from lookalike.runtime.settings import ServerSettings
from scripts import declared_metrics
from scripts.api_docs import api_page
from scripts.chart_schema import SERVICES
from scripts.declared_metrics import Declared
from scripts.metric_uses import USES

DOCS = Path(__file__).resolve().parents[1] / "docs"
_NOTE = "Written by `make docs-generated` from the code; do not edit.\n"
_SETTINGS_HEAD = f"""# Settings

{_NOTE}
A setting is a flag (`lookalike serve gateway --port 7700`), a variable (`LOOKALIKE_GATEWAY_PORT`) or, in the
TOML file that `--config` names, a key in the section of the service (`[gateway]`, `port = 7700`). Flags win
over variables, variables over the file. Unknown names and values out of bounds are refused at the start.
Changes need a restart.
"""
_METRICS_HEAD = f"""# Metrics

{_NOTE}
Every service serves them at `/metrics` on its `metrics_port`, in Prometheus's format, with `process_*` and
`python_info` of the Prometheus client. Durations are in seconds, sizes in bytes; label values are few and
known. Series whose labels are known at the start are there before their first event, but for the times of
single methods and of calls to single shards, which would be many. Who asks for the OpenMetrics format is
given exemplars where calls are traced. Metrics cost the gateway some 25 µs of CPU a search
(`python -m benchmarks.metrics_cost`).
[Quality](quality.md) explains the figures of recall and drift.
"""


def settings_page() -> str:
    """Returns the page of settings."""
    common = ServerSettings.model_fields
    parts = [_SETTINGS_HEAD, "## Every service\n", *_settings_table(_own_fields(ServerSettings, {}))]
    for name, kind in SERVICES.items():
        own = _own_fields(kind, common)
        parts += [f"\n## {name}\n", f"Variables: `LOOKALIKE_{name.upper()}_*`.\n", *_settings_table(own)]
    return "\n".join(parts) + "\n"


def _own_fields(kind: type[ServerSettings], common: dict[str, FieldInfo]) -> dict[str, FieldInfo]:
    """Returns the fields of a class that the common ones lack, or to which it gives another default."""
    return {
        name: field
        for name, field in kind.model_fields.items()
        if name not in common or field.default != common[name].default
    }


def _settings_table(fields: dict[str, FieldInfo]) -> Iterator[str]:
    yield "| setting | default | bounds | meaning |\n|---|---|---|---|"
    for name, field in fields.items():
        yield f"| `{name}` | {_default(field)} | {_bounds(field)} | {_cell(field.description)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value == "":
        return "–"
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{shown}`"


def _bounds(field: FieldInfo) -> str:
    signs = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
    bounds = [
        f"{sign} {getattr(bound, name):,.12g}"
        for bound in field.metadata
        for name, sign in signs
        if getattr(bound, name, None) is not None
    ]
    return ", ".join(bounds)


def metrics_page() -> str:
    """Returns the page of metrics."""
    parts = [_METRICS_HEAD]
    for name, makers in declared_metrics.SERVICES.items():
        parts += [f"\n## {name}\n", *_metrics_table(declared_metrics.declared_by(makers))]
    return "\n".join(parts) + "\n"


def _metrics_table(declared: Sequence[Declared]) -> Iterator[str]:
    yield "| metric | type | labels | meaning | what for |\n|---|---|---|---|---|"
    for one in declared:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        yield f"| `{one.name}` | {one.type} | {labels} | {_cell(one.doc)} | {_cell(USES.get(one.name))} |"


def _cell(text: str | None) -> str:
    return " ".join((text or "").replace("``", "`").replace("|", "\\|").split())


PAGES = {"settings.md": settings_page, "metrics.md": metrics_page, "api.md": api_page}


def main(arguments: Sequence[str]) -> int:
    """Writes the pages; with ``--check`` only says whether they are current."""
    stale = [name for name, page in PAGES.items() if not _is_current(DOCS / name, page())]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is not what the code says: run `make docs-generated`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(PAGES[name]())
    return 0


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
