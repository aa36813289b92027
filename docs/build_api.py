"""Print the API reference, made from the docstrings, as Markdown: `python docs/build_api.py > docs/api.md`."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parents[1]
PACKAGES = ("codemode_graph", "codemode_sandboxes")
# Names by the module that users import them from; tests/test_docs.py holds that each package's `__all__` is complete here.
OUTLINE: dict[str, dict[str, str]] = {
    "The short way in": {"codemode_graph": "codemode CodeMode CodeModeOptions RunOptions RunResult"},
    "The graph": {
        "codemode_graph": "create_codemode Context Prices CodeModeState",
        "codemode_graph.state": "Attempt ToolCall Finding Failure PendingCall Decision",
        "codemode_graph.updates": "ApplyUpdates",
    },
    "Tools": {
        "codemode_graph": "tool ToolPolicy ToolSpec IdempotencyKey Undo MCPToolLoader",
        "codemode_graph.tools.spec": "AfterCalls Review CutOffCall",
    },
    "The journal": {
        "codemode_graph": "Journal SQLiteJournal PostgresJournal StoreJournal MemoryJournal",
        "codemode_graph.calls.journal": "Conflict RunInfo",
        "codemode_graph.errors": "JournalError",
    },
    "In other agents": {
        "codemode_graph": "CodeModeMiddleware create_agent create_codemode_tool",
        "codemode_graph.integrations.mcp_server": "create_mcp_server create_http_app",
    },
    "Looking at a run": {
        "codemode_graph": "Trace",
        "codemode_graph.metrics": "Metrics",
        "codemode_graph.trace.progress": "Watcher Progress",
        "codemode_graph.events": "read_event AttemptEvent ModelEvent CheckEvent SandboxEvent CallStartedEvent "
        "CallFinishedEvent CallAnsweredEvent CallPendingEvent StdoutEvent OutcomeEvent",
    },
    "Sandboxes": {
        "codemode_sandboxes": "SANDBOXES create_sandbox resolve_sandbox AutoSandbox FallbackSandbox SandboxChoice Choice "
        "PassedOver MockSandbox MockExecution",
        "codemode_sandboxes.monty": "MontySandbox",
        "codemode_sandboxes.restricted": "RestrictedSandbox",
        "codemode_sandboxes.jail.bubblewrap": "BubblewrapSandbox",
        "codemode_sandboxes.jail.nsjail": "NsjailSandbox",
        "codemode_sandboxes.docker": "DockerSandbox",
        "codemode_sandboxes.pyodide": "PyodideSandbox",
    },
    "The contract of a sandbox": {
        "codemode_sandboxes": "Sandbox Execution Program Limits Capabilities Boundary Gap Diagnostic Event Blocked Call "
        "Finished Failed FailureKind Outcome Returned Raised attribute_names",
    },
    "Errors": {
        "codemode_graph": "CodeModeError ConfigurationError ModelError ToolLoadError",
        "codemode_graph.errors": "ToolCallError ToolOutcomeUnknown UnusableResult UnknownRun",
        "codemode_sandboxes": "SandboxError SandboxUnavailable UnknownSandbox NoSandboxFits SandboxClosed",
    },
}


def page() -> str:
    """Return the whole page."""
    parts = ["# API reference", "Made from the docstrings by `python docs/build_api.py`."]
    for title, modules in objects().items():
        parts.append(f"## {title}")
        for module, found in modules:
            parts += _object(module, found)
    # Python blocks of a page are run by the tests; those of docstrings are not whole.
    return "\n\n".join(parts).replace("```python", "```py") + "\n"


def objects() -> dict[str, list[tuple[str, Any]]]:
    """Return what the page describes: by title, the module to import from, and the object there."""
    paths = [ROOT, ROOT / "sandboxes"]
    loader = griffe.GriffeLoader(search_paths=paths, docstring_parser=griffe.Parser.google)
    packages = {name: loader.load(name) for name in PACKAGES}
    loader.resolve_aliases()

    def find(path: str) -> Any:
        package, _, rest = path.partition(".")
        found = packages[package][rest]
        return found.final_target if found.is_alias else found

    return {
        title: [(module, find(f"{module}.{name}")) for module, names in modules.items() for name in names.split()]
        for title, modules in OUTLINE.items()
    }


def _object(module: str, found: Any) -> Iterator[str]:
    yield f"### `{found.name}`"
    yield f"From `{module}`."
    if found.is_class:
        init = found.all_members.get("__init__")
        if init is not None and init.path.startswith("codemode") and not found.labels & {"dataclass"}:
            yield _fenced(_signature(init, found.name))
    elif found.is_attribute:
        yield _fenced(f"{found.name} = {found.value}")
    else:
        yield _fenced(_signature(found, found.name))
    yield from _docstring(found)
    if found.is_class:
        yield from _fields(found)
        for member in found.all_members.values():
            if not member.path.startswith("codemode") or not member.is_function:
                continue
            if not member.name.startswith("_") and member.docstring:
                yield f"#### `{found.name}.{member.name}`"
                yield _fenced(_signature(member, member.name))
                yield from _docstring(member)


def _signature(function: Any, name: str) -> str:
    marks = {"keyword-only": "*", "positional-only": "/"}
    words: list[str] = []
    starred = False
    for parameter in function.parameters:
        if parameter.name == "self":
            continue
        kind = parameter.kind.value if parameter.kind else ""
        if kind == "keyword-only" and not starred:
            words.append(marks[kind])
            starred = True
        prefix = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        starred = starred or prefix == "*"
        text = prefix + parameter.name + (f": {parameter.annotation}" if parameter.annotation else "")
        default = "" if prefix or parameter.default is None else f" = {parameter.default}"
        words.append(text + default)
    end = f" -> {function.returns}" if function.returns and name != "__init__" and function.name != "__init__" else ""
    asynchronous = "async " if "async" in function.labels else ""
    line = f"{asynchronous}{name}({', '.join(words)}){end}"
    if len(line) <= 100:
        return line
    return f"{asynchronous}{name}(\n" + "".join(f"    {word},\n" for word in words if word) + f"){end}"


def _docstring(found: Any) -> Iterator[str]:
    if found.docstring is None:
        return
    for section in found.docstring.parse("google", warnings=False):
        kind, value = section.kind.value, section.value
        if kind == "text":
            yield value
        elif kind in ("parameters", "attributes"):
            yield _listed(section.title or {"parameters": "Arguments"}.get(kind, "Attributes"), value)
        elif kind == "returns":
            yield "**Returns:** " + " ".join(_one_line(item.description) for item in value)
        elif kind == "raises":
            yield "**Raises:**\n\n" + "\n".join(
                f"* `{item.annotation}`: {_one_line(item.description)}" for item in value
            )
        elif kind == "examples":
            yield "\n\n".join(text for _, text in value)
        elif kind == "admonition":
            yield f"**{section.title or value.annotation.title()}:**\n\n{value.description}"


def _fields(found: Any) -> Iterator[str]:
    """List the keys of a TypedDict, and the attributes that have a docstring or a description of their own."""
    rows = []
    typed = any("TypedDict" in str(base) for base in [*found.bases, *(b for m in found.mro() for b in m.bases)])
    for member in found.all_members.values():
        if not member.is_attribute or member.name.startswith("_") or member.annotation is None:
            continue
        # The run options stand on the page once.
        if member.inherited and member.target.parent.name == "RunOptions":
            continue
        text = member.docstring.value.partition("\n\n")[0] if member.docstring else ""
        if not text and (described := re.search(r"description=(['\"])(.*?)\1", str(member.annotation))):
            text = described[2]
        if text:
            rows.append(f"* `{member.name}`: {_one_line(text)}")
        elif typed:
            rows.append(f"* `{member.name}`: `{member.annotation}`")
    if rows:
        yield "\n".join(rows)


def _listed(title: str, items: Any) -> str:
    rows = [f"* `{item.name}`: {_one_line(item.description)}" for item in items]
    return f"**{title}:**\n\n" + "\n".join(rows)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fenced(text: str, language: str = "py") -> str:
    return f"```{language}\n{text.strip()}\n```"


if __name__ == "__main__":
    sys.stdout.write(page())
