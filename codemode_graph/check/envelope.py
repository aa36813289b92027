"""Programs that arrive inside a text: a JSON string, a field `code`, or a variable that holds the source."""

import ast
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from codemode_sandboxes.source import Tree, parse

from codemode_graph.state import Finding
from codemode_graph.tools.text import one_line

PROGRAM_FIELDS = ("code", "program", "python", "script", "python_code", "source", "source_code")
"""Names under which a program stands in JSON, or in a variable."""

_CONTAINERS = ("arguments", "args", "input", "parameters", "function", "tool_input", "kwargs", "tool_call")
_NAMES = frozenset({"name", "tool", "function", "tool_name", "action", "recipient_name"})
# JSON in JSON in a fence occurs; a text that is wrapped more often is not worth the work.
_LAYERS = 5
_RUNS = (ast.Call, ast.Await, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
_CODE_LINE = re.compile(
    r"""^[ \t]*(?:
        await[ ] | async[ ]def[ ] | def[ ]\w+\( | class[ ]\w+[(:] | try:[ \t]*$ | @\w+[ \t]*$
      | import[ ][\w., ]+[ \t]*(?:\#.*)?$ | from[ ][\w.]+[ ]import[ ] | return[ ]await[ ]
      | (?:\w+|\w+\[[^\]\n]{1,80}\]|\w+\.\w+)(?:[ ]?:[ ]?\w+)?[ \t]*[-+*/|&%]?=[ \t]*[^\s=]
      | print[ (] | asyncio\.run\( | tools[.\[]
    )""",
    re.MULTILINE | re.VERBOSE,
)
_USES_TOOLS = re.compile(r"\btools\s*[.\[]|\bawait\b")
_LONGEST = 1_000_000


def parses(text: str) -> bool:
    """Return whether a text is Python."""
    try:
        parse(text)
    except SyntaxError:
        return False
    return True


def looks_like_code(text: str) -> bool:
    """Return whether a line of a text, which need not parse, is more likely code than a sentence."""
    return _CODE_LINE.search(text) is not None


def is_program_text(text: str) -> bool:
    """Return whether a text is a program: Python that calls or defines something, or broken Python that was meant to."""
    if len(text) > _LONGEST:
        return False
    try:
        return any(isinstance(node, _RUNS) for node in ast.walk(parse(text)))
    except SyntaxError:
        return looks_like_code(text) or "```" in text


def unwrap(code: str) -> str:
    """Return the program in a text that does nothing but hold it; any other text as it is.

    Args:
        code: A program, or a program as a JSON string, under `code` in a JSON object, or as `code = '''...'''`.

    Returns:
        The program, exactly as it stands in the text.
    """
    for _ in range(_LAYERS):
        inner = _inner(code)
        if inner is None:
            return code
        code = inner
    return code


def _inner(code: str) -> str | None:
    text = code.strip()
    if len(text) > _LONGEST:
        return None
    if text[:1] in ("{", "[", '"'):
        try:
            # Models write line feeds into JSON strings as they are.
            return _only(_programs(json.loads(text, strict=False)))
        except (ValueError, RecursionError):
            pass
    if text[:1] not in ("{", "[", "(", '"', "'") and not text.startswith(PROGRAM_FIELDS):
        return None
    try:
        body = parse(text).body
    except SyntaxError:
        return None
    match body:
        case [ast.Expr(value=value)]:
            return _only(_programs(_literal(value)))
        case [ast.Assign(targets=[ast.Name(id=name)], value=value), *rest] if name in PROGRAM_FIELDS and (
            not rest or _reads(rest, name)
        ):
            return _only(_programs(_literal(value)))
    return None


def _reads(statements: list[ast.stmt], name: str) -> bool:
    """Return whether the statements only give the value of a variable."""
    match statements:
        case [ast.Expr(value=ast.Name(id=read))]:
            return read == name
    return False


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None


def _only(programs: Iterator[str]) -> str | None:
    found = list(programs)
    return found[0] if len(found) == 1 else None


def _programs(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the programs that a value holds where programs stand: itself, under a name for programs, in arguments."""
    if depth > _LAYERS:
        return
    if isinstance(value, str):
        if is_program_text(value) or _inner(value) is not None:
            yield value
    elif isinstance(value, list) and len(value) == 1:
        yield from _programs(value[0], depth + 1)
    elif isinstance(value, dict):
        for name in PROGRAM_FIELDS:
            if isinstance(value.get(name), str):
                yield from _programs(value[name], depth + 1)
        for name in _CONTAINERS:
            inner = value.get(name)
            if isinstance(inner, str | dict):
                yield from _programs(inner, depth + 1)


def find_wrapped(tree: Tree, tools: Collection[str]) -> Iterator[Finding]:
    """Find a program that calls nothing, and has another one in a text, or a call of a tool as data.

    It would end as a success with its own source or that call as the value, and nothing done.

    Args:
        tree: The program.
        tools: The names of the tools.
    """
    if any(_does_work(tree, node) for node in tree.nodes):
        return
    for written in tree.of(ast.Dict):
        if (found := _call_in(written, tools)) is not None:
            tool, arguments = found
            listed = one_line(", ".join(f"{name}={value!r}" for name, value in arguments.items()), 200)
            message = f"this is a call of {tool!r} as data, and calls nothing: write `await tools[{tool!r}]({listed})`"
            yield Finding(rule="tool-calls", message=message, line=written.lineno)
            return
    for node in tree.of(ast.Constant, ast.JoinedStr):
        text = _text(node)
        if _USES_TOOLS.search(text) and is_program_text(text):
            message = "the program stands in a text, so nothing of it would run: give the program itself, without quotes around"
            yield Finding(rule="wrapped-program", message=message, line=node.lineno)
            return


def _call_in(node: ast.Dict, tools: Collection[str]) -> tuple[str, dict[str, Any]] | None:
    """Return the tool and the arguments of a call that a dict describes, in whatever form; None where it describes none."""
    try:
        fields = ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None
    match list(fields.items()):
        case [(str(tool), dict(arguments))] if tool in tools:
            return tool, arguments
    named = [value for key, value in fields.items() if key in _NAMES and isinstance(value, str) and value in tools]
    if not named:
        return None
    for value in fields.values():
        inner: object = _object(value) if isinstance(value, str) else value
        if isinstance(inner, dict):
            return named[0], inner
    return (named[0], {}) if fields.keys() <= {*_NAMES, "type", "id", *_CONTAINERS} else None


def _object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _does_work(tree: Tree, node: ast.AST) -> bool:
    """Return whether a node calls anything but `print`, `exec` of nothing, or the program's own functions."""
    if not isinstance(node, ast.Call):
        return False
    match node.func:
        case ast.Name(id="print"):
            return False
        case ast.Attribute(value=ast.Name(id="asyncio"), attr="run"):
            return False
    return tree.function(node.func) is None


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in node.values)
    if isinstance(node.value, bytes):
        return node.value.decode("utf-8", "replace")
    return node.value if isinstance(node.value, str) else ""
