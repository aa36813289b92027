"""Write api.md, the API reference, from the docstrings.

python docs/build_api.py [--check]     --check: say whether it is what would be written, and write nothing
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

HERE = Path(__file__).parent
OUTLINE: dict[str, list[str]] = {
    "The short way in": [
        "codemode_graph.api.codemode",
        "codemode_graph.api.CodeMode",
        "codemode_graph.options.CodeModeOptions",
        "codemode_graph.options.RunOptions",
        "codemode_graph.result.RunResult",
    ],
    "The graph": [
        "codemode_graph.graph.create_codemode",
        "codemode_graph.settings.Context",
        "codemode_graph.settings.Prices",
        "codemode_graph.state.CodeModeState",
        "codemode_graph.state.Attempt",
        "codemode_graph.state.ToolCall",
        "codemode_graph.state.Finding",
        "codemode_graph.state.Failure",
        "codemode_graph.state.PendingCall",
        "codemode_graph.state.Decision",
    ],
    "Tools": [
        "codemode_graph.tools.from_function.tool",
        "codemode_graph.tools.spec.ToolPolicy",
        "codemode_graph.tools.spec.AfterCalls",
        "codemode_graph.tools.spec.Review",
        "codemode_graph.tools.spec.ToolSpec",
        "codemode_graph.tools.spec.IdempotencyKey",
        "codemode_graph.mcp.loader.MCPToolLoader",
    ],
    "In other agents": [
        "codemode_graph.integrations.middleware.CodeModeMiddleware",
        "codemode_graph.integrations.agent.create_agent",
        "codemode_graph.integrations.langchain.create_codemode_tool",
        "codemode_graph.integrations.mcp_server.server.create_mcp_server",
        "codemode_graph.integrations.mcp_server.http.create_http_app",
    ],
    "Looking at a run": [
        "codemode_graph.trace.Trace",
        "codemode_graph.metrics.Metrics",
        "codemode_graph.trace.progress.Watcher",
        "codemode_graph.events.read_event",
        *(
            f"codemode_graph.events.{name}Event"
            for name in (
                "Attempt",
                "Model",
                "Check",
                "Sandbox",
                "CallStarted",
                "CallFinished",
                "CallAnswered",
                "CallPending",
                "Stdout",
                "Outcome",
            )
        ),
        "codemode_graph.trace.progress.Progress",
    ],
    "Sandboxes": [
        "codemode_sandboxes.registry.create_sandbox",
        "codemode_sandboxes.choice.resolve_sandbox",
        "codemode_sandboxes.contract.Sandbox",
        "codemode_sandboxes.contract.Execution",
        "codemode_sandboxes.contract.Program",
        "codemode_sandboxes.contract.Limits",
        "codemode_sandboxes.contract.Capabilities",
        "codemode_sandboxes.choice.AutoSandbox",
        "codemode_sandboxes.choice.FallbackSandbox",
        "codemode_sandboxes.monty.sandbox.MontySandbox",
        "codemode_sandboxes.restricted.sandbox.RestrictedSandbox",
        "codemode_sandboxes.jail.bubblewrap.BubblewrapSandbox",
        "codemode_sandboxes.jail.nsjail.NsjailSandbox",
        "codemode_sandboxes.docker.sandbox.DockerSandbox",
        "codemode_sandboxes.pyodide.sandbox.PyodideSandbox",
        "codemode_sandboxes.mock.MockSandbox",
    ],
}
ERRORS = {"codemode_graph": "codemode_graph.errors", "codemode_sandboxes": "codemode_sandboxes.errors"}


def page() -> str:
    """The whole page."""
    loader = griffe.GriffeLoader(
        search_paths=[HERE.parent, HERE.parent / "sandboxes"], docstring_parser=griffe.Parser.google
    )
    modules = {name: loader.load(name) for name in ERRORS}

    def find(path: str) -> Any:
        package, _, rest = path.partition(".")
        return modules[package][rest]

    parts = ["# API reference", "Made from the docstrings by `python docs/build_api.py`."]
    for title, paths in OUTLINE.items():
        parts.append(f"## {title}")
        for path in paths:
            parts += _object(find(path))
    parts.append("## Errors")
    parts += [_fenced(find(path).docstring.value, "text") for path in ERRORS.values()]
    # Python blocks of a page are run by the tests; those of docstrings are not whole.
    return "\n\n".join(parts).replace("```python", "```py") + "\n"


def _object(found: Any) -> Iterator[str]:
    yield f"### `{found.name}`"
    yield f"From `{_public(found)}`."
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
        for member in found.members.values():
            if member.is_function and not member.name.startswith("_") and member.docstring:
                yield f"#### `{found.name}.{member.name}`"
                yield _fenced(_signature(member, member.name))
                yield from _docstring(member)


def _public(found: Any) -> str:
    """The shortest module that exports it."""
    module = found.module
    place = module
    while module is not None:
        if found.name in (module.exports or ()):
            place = module
        module = module.parent
    return str(place.path)


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
    """The keys of a TypedDict, and attributes that have docstrings of their own, or a description."""
    rows = []
    typed = any("TypedDict" in str(base) for base in [*found.bases, *(b for m in found.mro() for b in m.bases)])
    for member in found.all_members.values():
        if not member.is_attribute or member.name.startswith("_") or member.annotation is None:
            continue
        # The run options stand on the page once.
        if member.inherited and member.target.parent.name == "RunOptions":
            continue
        text = member.docstring.value.partition("\n\n")[0] if member.docstring else ""
        if not text and "description=" in str(member.annotation):
            text = (
                str(member.annotation).split("description=")[1].split('"' if '"' in str(member.annotation) else "'")[1]
            )
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


def main() -> int:
    """Write the page, or check it."""
    made, path = page(), HERE / "api.md"
    if "--check" in sys.argv:
        return int(not path.exists() or path.read_text(encoding="utf-8") != made)
    path.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
