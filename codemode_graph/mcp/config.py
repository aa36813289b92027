"""The configuration of MCP servers: one record a server, read from the `mcpServers` form that MCP clients share."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError
from typing_extensions import TypedDict

from codemode_graph.errors import ConfigurationError

__all__ = [
    "DEFAULT_STARTUP_TIMEOUT",
    "DEFAULT_TIMEOUT",
    "RemoteConnection",
    "ServerConfig",
    "StdioConnection",
    "read_config",
]

DEFAULT_TIMEOUT = 300.0
DEFAULT_STARTUP_TIMEOUT = 30.0

# As in the configuration files of other clients: `${NAME}` and `${NAME:-fallback}`.
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_TRANSPORTS = {"stdio": "stdio", "sse": "sse", "http": "http", "streamablehttp": "http"}


class StdioConnection(TypedDict):
    """A server that is a program on this machine."""

    transport: Literal["stdio"]
    command: str
    args: list[str]
    env: dict[str, str] | None
    cwd: str | None


class RemoteConnection(TypedDict):
    """A server that is reached at a URL."""

    transport: Literal["sse", "streamable_http"]
    url: str
    headers: dict[str, str] | None


Connection: TypeAlias = StdioConnection | RemoteConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One server.

    Attributes:
        name: Unique within a loader.
        connection: Its command or its URL.
        timeout: Seconds that one call may take; None sets no bound.
        startup_timeout: Seconds until its first answer is due.
        shared: Whether an `MCPPool` lets runs share one session with it.
    """

    name: str
    connection: Connection = field(repr=False)
    timeout: float | None = DEFAULT_TIMEOUT
    startup_timeout: float = DEFAULT_STARTUP_TIMEOUT
    shared: bool = True


def read_config(
    config: Mapping[str, Any] | str | os.PathLike[str],
    *,
    timeout: float | None = DEFAULT_TIMEOUT,
    startup_timeout: float = DEFAULT_STARTUP_TIMEOUT,
) -> list[ServerConfig]:
    """Read the `mcpServers` form.

    Each server has `command` (with `args`, `env`, `cwd`), or `url` (with `headers`, and `type` or `transport`: "http",
    which is assumed, "streamable-http" or "sse"). One that is `"disabled": true` is left out; other keys, which clients
    add for themselves, have no meaning here. In every value `${NAME}` stands for an environment variable and
    `${NAME:-text}` for one that may be missing.

    Args:
        config: The form itself, or the path of a JSON file that holds it.
        timeout: Seconds that one call may take.
        startup_timeout: Seconds until a server's first answer is due.

    Raises:
        ConfigurationError: It cannot be read; the message says where and what to change.
    """
    source = "the configuration" if isinstance(config, Mapping) else os.fspath(config)
    form = config if isinstance(config, Mapping) else _read_json(Path(config))
    servers = form.get("mcpServers") if isinstance(form, Mapping) else None
    if not isinstance(servers, Mapping):
        msg = f'{source}: expected {{"mcpServers": {{"name": {{"command": ...}}}}}}, with "mcpServers" at the top'
        raise ConfigurationError(msg)
    found = []
    for name, entry in servers.items():
        if isinstance(entry, Mapping) and entry.get("disabled") is True:
            continue
        where = f"{source}: mcpServers.{name}"
        connection = _connection(where, _expand(entry, where))
        server = ServerConfig(
            name=name,
            connection=connection,
            timeout=timeout,
            startup_timeout=startup_timeout,
            shared=entry.get("shared", True),
        )
        found.append(server)
    return found


def _read_json(path: Path) -> Any:
    try:
        # "-sig": editors on Windows begin a file with a byte order mark.
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not a text in UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None


def _expand(value: Any, where: str) -> Any:
    """Return `value` with environment variables in all its texts replaced."""

    def replace(match: re.Match[str]) -> str:
        name, fallback = match.groups()
        found = os.environ.get(name, fallback)
        if found is None:
            raise ConfigurationError(f"{where}: the environment variable {name} is not set")
        return found

    if isinstance(value, str):
        return _VARIABLE.sub(replace, value)
    if isinstance(value, Mapping):
        return {key: _expand(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, f"{where}[{index}]") for index, item in enumerate(value)]
    return value


def _transport(value: Any) -> Any:
    known = _TRANSPORTS.get(re.sub(r"[-_ ]", "", value).lower()) if isinstance(value, str) else None
    if known is None:
        raise ValueError(f'expected "stdio", "http", "streamable-http" or "sse", not {value!r}')
    return known


class _Entry(BaseModel):
    # Numbers, such as ports, may stand among `args` and `env`.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    command: str | None = Field(None, min_length=1)
    args: list[str] = []
    env: dict[str, str] | None = None
    cwd: str | None = None
    url: str | None = Field(None, pattern="^https?://")
    headers: dict[str, str] | None = None
    shared: StrictBool = True
    transport: Annotated[str | None, BeforeValidator(_transport)] = Field(
        None, validation_alias=AliasChoices("transport", "type")
    )


def _connection(where: str, value: Any) -> Connection:
    try:
        entry = _Entry.model_validate(value)
    except ValidationError as errors:
        error = errors.errors(include_url=False, include_input=False)[0]
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error["loc"])
        raise ConfigurationError(f"{where}{place}: {error['msg'].removeprefix('Value error, ')}") from None
    if (entry.command is None) == (entry.url is None):
        raise ConfigurationError(f'{where}: give either "command" or "url"')
    if entry.url is None and entry.transport not in (None, "stdio"):
        raise ConfigurationError(f'{where}: the transport "{entry.transport}" needs "url"')
    if entry.url is not None and entry.transport == "stdio":
        raise ConfigurationError(f'{where}: the transport "stdio" needs "command"')
    if entry.command is not None:
        return {"transport": "stdio", "command": entry.command, "args": entry.args, "env": entry.env, "cwd": entry.cwd}
    assert entry.url is not None
    transport: Literal["sse", "streamable_http"] = "sse" if entry.transport == "sse" else "streamable_http"
    return {"transport": transport, "url": entry.url, "headers": entry.headers}
