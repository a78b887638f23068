"""Makes ``docs/api.md`` from the comments of the protos."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

ROOT = Path(__file__).resolve().parents[1]
FILES = ("search", "catalog", "collection", "types", "embedder", "hasher")
"""In the order of the page: what the public calls, what these share, what the services call."""
TITLES = {"types": "Shared messages", "embedder": "Embedder, internal", "hasher": "Hasher, internal"}
_PACKAGE = ".lookalike.v1."
_HEAD = """# API reference

Written by `make docs-generated` from the comments in `protos/lookalike/v1`; do not edit.

Package `lookalike.v1`. Search, catalogue and collections are the public API, served by the gateway; its
[guide](api-guide.md) shows first calls. Embedder and hasher are called by the gateway alone.
"""
# Numbers of fields in descriptor.proto, which make up the paths of comments.
_SYNTAX, _MESSAGE, _ENUM, _SERVICE, _FIELD, _METHOD, _VALUE = 12, 4, 5, 6, 2, 2, 2
_CODE = re.compile(r"(?:^|(?<=[.)]) )(?=`[A-Z_]{5,}`[:,])")
"""Where a paragraph begins to say what a status code means."""
_CAPITALS = re.compile(
    r"(?<!`)\b(?:INTERNAL|UNAVAILABLE|UNIMPLEMENTED|UNAUTHENTICATED|[A-Z]+(?:_[A-Z]+)+)\b(?!`)"
)

Comments = dict[tuple[int, ...], str]


def api_page() -> str:
    """Returns the page."""
    files = {Path(one.name).stem: one for one in _descriptors().file if one.package == "lookalike.v1"}
    parts = [_HEAD]
    for name in FILES:
        parts += _file(files[name], TITLES.get(name, name.capitalize()))
    return "\n".join(parts) + "\n"


def _descriptors() -> FileDescriptorSet:
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "protos.binpb"
        includes = ["-I", str(ROOT / "protos"), "-I", sysconfig.get_path("purelib")]
        protos = [str(ROOT / "protos" / "lookalike" / "v1" / f"{name}.proto") for name in FILES]
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", *includes, "--include_source_info",
             f"--descriptor_set_out={image}", *protos],
            check=True,
        )  # fmt: skip
        return FileDescriptorSet.FromString(image.read_bytes())


def _file(file: FileDescriptorProto, title: str) -> Iterator[str]:
    comments = {tuple(one.path): one.leading_comments for one in file.source_code_info.location}
    yield f"## {title}\n"
    yield from _text(comments, _SYNTAX)
    for number, service in enumerate(file.service):
        yield from _service(service, number, comments)
    for number, message in enumerate(file.message_type):
        yield from _message(message, number, comments)
    for number, enum in enumerate(file.enum_type):
        yield from _enum(enum, number, comments)


def _text(comments: Comments, *path: int) -> Iterator[str]:
    """Yields a comment as Markdown; what it says of status codes becomes a list."""
    for paragraph in comments.get(path, "").strip().split("\n\n"):
        text = _marked(" ".join(paragraph.split()))
        if _CODE.match(text):
            yield from (f"- {item}" for item in _CODE.split(text) if item)
        else:
            yield text
        yield ""


def _marked(text: str) -> str:
    return _CAPITALS.sub(r"`\g<0>`", text)


def _service(service: ServiceDescriptorProto, number: int, comments: Comments) -> Iterator[str]:
    yield f"### {service.name}\n"
    yield from _text(comments, _SERVICE, number)
    for place, method in enumerate(service.method):
        yield f"#### {service.name}.{method.name}\n"
        yield f"{_call(method)}\n"
        yield from _text(comments, _SERVICE, number, _METHOD, place)


def _call(method: MethodDescriptorProto) -> str:
    asked = "stream of " * method.client_streaming + _linked(method.input_type)
    answered = "stream of " * method.server_streaming + _linked(method.output_type)
    return f"{asked} → {answered}"


def _linked(kind: str) -> str:
    if not kind.startswith(_PACKAGE):
        return f"`{kind.removeprefix('.')}`"
    name = kind.removeprefix(_PACKAGE)
    return f"[`{name}`](#{name.lower()})"


def _message(message: DescriptorProto, number: int, comments: Comments) -> Iterator[str]:
    yield f"### {message.name}\n"
    yield from _text(comments, _MESSAGE, number)
    if not message.field:
        yield "Empty.\n"
        return
    yield "| field | type | meaning |\n|---|---|---|"
    for place, field in enumerate(message.field):
        meaning = _cell(comments.get((_MESSAGE, number, _FIELD, place), ""))
        if field.HasField("oneof_index") and not field.proto3_optional:
            meaning = f"*One of `{message.oneof_decl[field.oneof_index].name}`.* {meaning}".strip()
        yield f"| `{field.name}` | {_type(field, message)} | {meaning} |"
    yield ""


def _type(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    for entry in message.nested_type:
        if entry.options.map_entry and field.type_name.endswith(f".{message.name}.{entry.name}"):
            key, value = entry.field
            return f"map of {_plain(key)} to {_plain(value)}"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {_plain(field)}"
    return f"optional {_plain(field)}" if field.proto3_optional else _plain(field)


def _plain(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _linked(field.type_name)
    return f"`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"


def _enum(enum: EnumDescriptorProto, number: int, comments: Comments) -> Iterator[str]:
    yield f"### {enum.name}\n"
    yield from _text(comments, _ENUM, number)
    yield "| value | number | meaning |\n|---|---|---|"
    for place, value in enumerate(enum.value):
        meaning = _cell(comments.get((_ENUM, number, _VALUE, place), ""))
        yield f"| `{value.name}` | {value.number} | {meaning} |"
    yield ""


def _cell(text: str) -> str:
    return _marked(" ".join(text.replace("|", "\\|").split()))
