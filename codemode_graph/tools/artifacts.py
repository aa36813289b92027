"""Artifacts: images, sounds and files that tools return. Their data stay in the host, and programs get handles of them."""

import base64
import binascii
import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypeGuard, get_args

from codemode_sandboxes.guest.json_values import MAX_DEPTH
from langchain_core.messages import ToolMessage
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict

from codemode_graph.tools.schema import Document, branches_of, mapping_at

_BINARY = "application/octet-stream"
_USE = (
    "return it to show it; pass it to a tool; "
    "await tools['load_value'](handle=it) returns its text, or base64 where it is no text"
)
_KINDS = ("image", "audio", "video")
_MOST_NESTED = 10


class ArtifactHandle(TypedDict):
    """Stands for an artifact in values: a program may keep it, return it, and pass it on."""

    codemode_artifact: str
    """Names the data, in the journal of the run."""
    type: str
    """The media type, such as `image/png`."""
    bytes: int
    use: str
    """What a program can do with it."""
    name: NotRequired[str]
    """A file's name or an address, where the tool gave one."""


HANDLE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "codemode_artifact": {"type": "string"},
        "type": {"type": "string"},
        "bytes": {"type": "integer"},
        "use": {"type": "string"},
        "name": {"type": "string"},
    },
    "required": ["codemode_artifact", "type", "bytes", "use"],
}
"""The JSON Schema of handles: what a tool that returns bytes or an `Artifact` returns to a program."""


class Artifact:
    """Binary data that a tool returns, alone or within its value. Bytes in a result become one.

    Args:
        data: The data.
        type: The media type, such as `image/png`.
        name: A file's name or an address.

    Example:
        >>> Artifact(b"%PDF", "application/pdf", "report.pdf")
        Artifact('application/pdf', 4 bytes, 'report.pdf')
    """

    __slots__ = ("data", "name", "type")

    def __init__(self, data: bytes, type: str = _BINARY, name: str | None = None) -> None:
        self.data, self.type, self.name = bytes(data), type, name

    def __repr__(self) -> str:
        name = f", {self.name!r}" if self.name is not None else ""
        return f"Artifact({self.type!r}, {len(self.data)} bytes{name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.data, self.type, self.name))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # A handle is validated before its artifact is there: equal handles are equal arguments.
        return core_schema.no_info_plain_validator_function(cls._validate)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(HANDLE_SCHEMA)

    @classmethod
    def _validate(cls, value: Any) -> Any:
        if isinstance(value, Artifact) or is_handle(value):
            return value
        raise ValueError("it is no artifact; pass the handle of one, as a tool has returned it")

    @property
    def base64(self) -> str:
        """The data in base64."""
        return base64.b64encode(self.data).decode()

    @property
    def text(self) -> str | None:
        """The data as text, where the media type says that they are one and they are UTF-8."""
        kind = self.type.partition(";")[0]
        if not (kind.startswith("text/") or kind.endswith(("json", "xml"))):
            return None
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None

    @property
    def block(self) -> dict[str, Any]:
        """The content block of LangChain's messages that shows the artifact to a model."""
        kind = self.type.partition("/")[0]
        block = {"type": kind if kind in _KINDS else "file", "base64": self.base64, "mime_type": self.type}
        return block if self.name is None else {**block, "extras": {"name": self.name}}

    def to_json(self) -> dict[str, Any]:
        """Return the artifact as JSON, for the journal."""
        return {"type": self.type, "name": self.name, "base64": self.base64}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Artifact":
        """Return the artifact that `to_json` has written."""
        return cls(base64.b64decode(value["base64"]), value["type"], value["name"])


def handle_of(artifact: Artifact, name: str) -> ArtifactHandle:
    """Return the handle of an artifact whose data are kept under this name."""
    handle = ArtifactHandle(codemode_artifact=name, type=artifact.type, bytes=len(artifact.data), use=_USE)
    return handle if artifact.name is None else {**handle, "name": artifact.name}


def is_handle(value: object) -> TypeGuard[ArtifactHandle]:
    """Tell whether a value looks like a handle. A program may forge one: only its name counts, and only in its own run."""
    return isinstance(value, dict) and isinstance(value.get("codemode_artifact"), str) and "bytes" in value


def handles_in(value: Any) -> Iterator[ArtifactHandle]:
    """Yield the handles in a JSON value, in order."""
    if is_handle(value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from handles_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from handles_in(item)


def with_handles(schema: Any, *, argument: bool = False) -> Any:
    """Return a JSON Schema with that of handles in place of bytes.

    Args:
        schema: Of a result, or of an argument.
        argument: An argument takes a text as well.
    """
    if isinstance(schema, list):
        return [with_handles(item, argument=argument) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "string" and schema.get("format") == "binary":
        rest = {key: item for key, item in schema.items() if key not in ("type", "format")}
        return (
            {**rest, "anyOf": [{"type": "string", "format": "binary"}, HANDLE_SCHEMA]}
            if argument
            else rest | HANDLE_SCHEMA
        )
    return {key: with_handles(item, argument=argument) for key, item in schema.items()}


# In the order in which an argument that takes several has them.
_Form = Literal["bytes", "artifact", "base64", "text"]
Load = Callable[[ArtifactHandle], Awaitable[Artifact]]
"""Returns the artifact of a handle."""


async def with_data(value: Any, schema: object, document: Document, load: Load) -> Any:
    """Return an argument with artifacts in place of their handles, each in the form that its schema asks for.

    A handle stays where the schema takes an object, or says nothing.

    Args:
        value: The argument.
        schema: Its JSON Schema.
        document: The document in which that stands.
        load: Returns the artifact of a handle.
    """
    branches = list(_branches(schema, document))
    if is_handle(value):
        found = {_form_of(branch) for branch in branches}
        form = next((form for form in get_args(_Form) if form in found), None)
        return value if form is None else _in_form(await load(value), form)
    if isinstance(value, list):
        return [await with_data(item, _schema_at(branches, place), document, load) for place, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: await with_data(item, _schema_at(branches, key), document, load) for key, item in value.items()}
    return value


def _branches(schema: object, document: Document, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield a schema and all its alternatives, with their references followed."""
    flat = document.flat(schema)
    yield flat
    # Alternatives may refer to themselves.
    for each in branches_of(flat) if depth < _MOST_NESTED else ():
        yield from _branches(each, document, depth + 1)


def _schema_at(branches: Sequence[Mapping[str, Any]], place: str | int) -> object:
    """Return the schema of a member of an object or a list: the first one that names its place, else one for all."""
    if isinstance(place, int):
        lists = [each["prefixItems"] for each in branches if isinstance(each.get("prefixItems"), list)]
        named = (each[place] for each in lists if place < len(each))
    else:
        objects = [mapping_at(each, "properties") for each in branches]
        named = (each[place] for each in objects if place in each)
    general = "items" if isinstance(place, int) else "additionalProperties"
    return next(named, next((each[general] for each in branches if isinstance(each.get(general), Mapping)), True))


def _form_of(schema: Mapping[str, Any]) -> _Form | None:
    """Return in which form a schema takes an artifact; None where it takes the handle as it is."""
    if "codemode_artifact" in mapping_at(schema, "properties"):
        return "artifact"
    if schema.get("format") == "binary":
        return "bytes"
    kinds = schema.get("type")
    if "string" not in (kinds if isinstance(kinds, list) else [kinds]):
        return None
    encoded = schema.get("contentEncoding") == "base64" or schema.get("format") in ("base64", "byte")
    return "base64" if encoded else "text"


def _in_form(artifact: Artifact, form: _Form) -> Artifact | bytes | str:
    match form:
        case "artifact":
            return artifact
        case "bytes":
            return artifact.data
        case "text" if artifact.text is not None:
            return artifact.text
    return artifact.base64


_LEAVES = frozenset({str, int, float, bool, type(None)})
_MOST_CONTAINERS = 10_000


def with_artifacts(value: Any) -> Any:
    """Return a result with an `Artifact` in place of all bytes; the very result where there is neither in it.

    A dataclass or a model with one in it becomes a dict of its fields.
    """
    return value if is_plain(value) else _replace(value, {}, 0)


def is_plain(value: Any) -> bool:
    """Tell whether a value is made of JSON's types alone, as most are.

    To see that takes less time than to go through a value for what it may hold, or to write it again. One with many
    containers, among them each that contains itself, counts as another.
    """
    if type(value) in _LEAVES:
        return True
    containers = [value]
    for each in containers:  # those inside are added at its end
        if type(each) is dict and all(type(key) is str for key in each):
            containers += [item for item in each.values() if type(item) not in _LEAVES]
        elif type(each) is list:
            containers += [item for item in each if type(item) not in _LEAVES]
        else:
            return False
        # Few references to one list, nested, would make endlessly many.
        if len(containers) > _MOST_CONTAINERS:
            return False
    return True


def _replace(value: Any, seen: dict[int, tuple[Any, Any]], depth: int) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return Artifact(bytes(value))
    if isinstance(value, str | int | float | Artifact) or value is None or depth > MAX_DEPTH:
        return value
    if (known := seen.get(id(value))) is not None:
        return known[1]
    # Met again inside itself it stays, and is refused as a cycle where the value is taken.
    seen[id(value)] = value, value
    replaced = value
    if isinstance(value, BaseModel):
        fields = value.model_dump(by_alias=True) if _has_bytes(type(value)) else None
        replaced = value if fields is None else _replace(fields, seen, depth + 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        replaced = _replace(fields, seen, depth + 1)
        replaced = value if replaced is fields else replaced
    elif isinstance(value, dict):
        items = {key: _replace(item, seen, depth + 1) for key, item in value.items()}
        replaced = items if any(items[key] is not value[key] for key in value) else value
    elif isinstance(value, list | tuple):
        parts = [_replace(item, seen, depth + 1) for item in value]
        replaced = parts if any(new is not old for new, old in zip(parts, value, strict=True)) else value
    seen[id(value)] = value, replaced
    return replaced


def _has_bytes(model: type[BaseModel]) -> bool:
    """Return whether a model declares bytes or an artifact; others are dumped as pydantic does it."""
    try:
        schema = json.dumps(model.model_json_schema(mode="serialization"))
        return '"binary"' in schema or '"codemode_artifact"' in schema
    except Exception:  # a type without a schema
        return False


def standard_blocks(content: list[Any]) -> list[Any]:
    """Return content blocks of any provider in LangChain's standard form; those that it does not know as they are."""
    blocks = ToolMessage(content=content, tool_call_id="").content_blocks
    return [block["value"] if block["type"] == "non_standard" else block for block in blocks]


def artifact_of_block(block: Mapping[str, Any]) -> Artifact | None:
    """Return the artifact in a standard content block, or in one of MCP; None where it holds no data."""
    data = next((block[key] for key in ("base64", "data", "blob") if isinstance(block.get(key), str)), None)
    if data is None:
        return None
    try:
        # Encoders of mail break lines.
        found = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    extras = block.get("extras") or {}
    name = block.get("uri") or extras.get("name") or extras.get("filename")
    kind = block.get("mime_type") or block.get("mimeType") or _BINARY
    return Artifact(found, str(kind), None if name is None else str(name))
