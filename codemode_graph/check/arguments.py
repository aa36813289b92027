"""Calls of tools, compared with the tools' parameters."""

import ast
import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from codemode_sandboxes.source import Tree

from codemode_graph.check.syntax import exceptions_of
from codemode_graph.check.tool_uses import Reference, References, same_tools
from codemode_graph.state import Finding
from codemode_graph.tools.schema import Parameters
from codemode_graph.tools.signatures import Signature
from codemode_graph.tools.text import listed, one_line, suggest

# Up to so many other tools are named beside the nearest name, which may not be the one that was meant.
_FEW = 8


def find_wrong_calls(tree: Tree, references: References, signatures: Mapping[str, Signature]) -> Iterator[Finding]:
    """Find references to tools that do not exist, and calls that are wrong whatever values their arguments have.

    Args:
        tree: The program.
        references: The places where it names tools.
        signatures: The tools, by name.
    """
    for reference in references.direct():
        if _misses_get(reference.node, signatures):
            form = _form(signatures["get"])
            message = f"tools.get(...) looks a tool up by its name: write {form} to call that tool, or tools[name]"
            yield _finding("uncalled-tool", message, reference.node)
        elif _is_unknown(tree, reference):
            chain = references.chained(reference)
            server = any(name.startswith(f"{reference.written}.") for name in signatures)
            is_chain = chain is not None and (server or same_tools(chain[1], signatures))
            written = chain[1] if chain is not None and is_chain else str(reference.written)
            yield _finding("unknown-tool", _no_tool(written, signatures), reference.node)
        # Attributes such as `__name__` are those of any function.
        parent = tree.parent(reference.node)
        if reference.tool is not None and isinstance(parent, ast.Attribute) and not parent.attr.startswith("__"):
            message = f"a tool has no {one_line(parent.attr, 80)!r}: call the tool itself, {_form(signatures[reference.tool])}"
            yield _finding("unknown-tool", message, reference.node)
    for call in tree.of(ast.Call):
        if references.is_tools(call.func):
            yield _finding("unknown-tool", f"tools is not a function: {_forms(signatures)}", call)
    for call, reference in references.calls():
        if reference.tool is not None:
            yield from _wrong_arguments(call, signatures[reference.tool])
    yield from _shadowed(tree, references)


def unknown_tools(tree: Tree, references: References) -> list[str]:
    """Return the tools that a program refers to by name and that do not exist.

    Args:
        tree: The program.
        references: The places where it names tools.
    """
    return [str(each.written) for each in references.direct() if _is_unknown(tree, each)]


def _is_unknown(tree: Tree, reference: Reference) -> bool:
    return reference.written is not None and reference.tool is None and not _is_expected(tree, reference.node)


def _misses_get(node: ast.expr, tools: Collection[str]) -> bool:
    """Return whether a reference is `tools.get(x)`, where there is a tool `get` and `x` is no tool's name."""
    match node:
        case ast.Call(args=[x, *_]):
            return "get" in tools and not (isinstance(x, ast.Constant) and x.value in tools)
    return False


def _is_expected(tree: Tree, node: ast.AST) -> bool:
    """Return whether the program catches, by its name, the exception that an unknown tool raises."""
    tries = (around for around in tree.ancestors(node) if isinstance(around, ast.Try))
    caught = (exceptions_of(handler) for statement in tries for handler in statement.handlers)
    return any(names & {"AttributeError", "KeyError", "LookupError"} for names in caught)


def _finding(rule: str, message: str, node: ast.expr | ast.stmt | ast.keyword) -> Finding:
    return Finding(rule=rule, message=message, line=node.lineno)


def _no_tool(written: str, signatures: Mapping[str, Signature]) -> str:
    head = f"there is no tool {one_line(written, 80)!r}"
    offered = _offered(signatures)
    suggestions = same_tools(written, signatures) or _close_tools(written, signatures)
    if not suggestions:
        return f"{head}; {_forms(signatures, written)}"
    forms = [_form(signatures[name]) for name in suggestions[:_FEW]]
    more = f" or {len(suggestions) - _FEW} more" if len(suggestions) > _FEW else ""
    hint = f"{head}; did you mean {' or '.join(forms)}{more}?"
    others = [name for name in offered if name not in suggestions]
    return f"{hint} The others are {listed(map(repr, others))}" if 0 < len(others) <= _FEW else hint


def _close_tools(written: str, names: Iterable[str]) -> list[str]:
    """Return the tools whose name is spelled most like this one: all that share the name, on their servers."""
    known: dict[str, dict[str, None]] = {}
    for name in names:
        # Models write a dash as an underscore, and leave the server out.
        for spelling in (
            name,
            name.replace("-", "_"),
            name.rpartition(".")[2],
            name.rpartition(".")[2].replace("-", "_"),
        ):
            known.setdefault(spelling.lower(), {})[name] = None
    spellings = {written.lower(), written.lower().rpartition(".")[2]}
    close = [
        found
        for each in sorted(spellings, key=len, reverse=True)
        for found in difflib.get_close_matches(each, known, 1)
    ]
    return list(known[close[0]]) if close else []


def _form(signature: Signature) -> str:
    return f"tools[{signature.tool.name!r}]({_arguments(signature.parameters)})"


def _forms(signatures: Mapping[str, Signature], written: str = "") -> str:
    # Of hundreds only the first are shown: those that have a word of the one that is written.
    words = _words(written)
    offered = sorted(_offered(signatures), key=lambda name: -len(words & _words(name)))
    if not offered:
        return "there are no tools"
    return f"call one of these as tools['name'](argument=value): {listed(map(repr, offered))}"


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)}


def _offered(signatures: Mapping[str, Signature]) -> list[str]:
    # A model knows these tools by their cards; of ours, such as `search_tools`, it hears where it needs them.
    return [name for name, signature in signatures.items() if signature.tool.source != "codemode"]


def _arguments(parameters: Parameters) -> str:
    return str(parameters) if len(parameters) else ""


def _wrong_arguments(call: ast.Call, signature: Signature) -> Iterator[Finding]:
    parameters, name = signature.parameters, signature.tool.name
    known = parameters.by_name
    tail = f"its arguments are {parameters}" if len(parameters) else "it takes no arguments"
    # How many arguments a `*args` brings is not written in the program.
    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    # A single dict may stand for the keyword arguments; what a name or a call holds cannot be seen.
    if (
        len(call.args) == 1
        and not call.keywords
        and not isinstance(call.args[0], ast.Constant | ast.List | ast.JoinedStr)
    ):
        return
    places = parameters.positional(len(call.args))
    if len(call.args) > len(places) and not starred:
        message = f"tools[{name!r}] takes {len(parameters)} positional arguments, not {len(call.args)}; {tail}"
        yield _finding("unknown-argument", message, call)
        return
    passed = [] if starred else [item.name for item in places]
    for keyword in call.keywords:
        if keyword.arg is None:
            continue
        item = known.get(keyword.arg)
        if item is None and not parameters.open:
            close = suggest(keyword.arg, (item.keyword for item in parameters))
            hint = f" ({close})" if close else ""
            message = f"tools[{name!r}] has no argument {one_line(keyword.arg, 80)!r}{hint}; {tail}"
            yield _finding("unknown-argument", message, keyword)
        elif item is not None and item.name in passed:
            message = f"tools[{name!r}] is given {keyword.arg!r} twice: by position and by keyword"
            yield _finding("unknown-argument", message, keyword)
        elif item is not None:
            passed.append(item.name)
    if starred or any(keyword.arg is None for keyword in call.keywords):
        return
    missing = [item.keyword for item in parameters if item.required and item.name not in passed]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        message = f"tools[{name!r}] lacks the argument{plural} {listed(map(repr, missing))}; {tail}"
        yield _finding("missing-argument", message, call)


def _shadowed(tree: Tree, references: References) -> Iterator[Finding]:
    """Find variables called `tools` that are something else, and yet are used as if they held the tools."""
    found: set[int] = set()
    for use in tree.names("tools"):
        scope = tree.owner(use)
        if scope is None or id(scope) in found or references.is_tools(use) or not _is_called_through(tree, use):
            continue
        binding = scope.bound["tools"][0]
        if isinstance(binding, ast.arg):
            continue  # its calls may pass anything, the tools too
        found.add(id(scope))
        message = "`tools` is what holds the tools, and this makes it something else: give this variable another name"
        yield Finding(rule="shadowed-tools", message=message, line=getattr(binding, "lineno", use.lineno))


def _is_called_through(tree: Tree, use: ast.Name) -> bool:
    part = tree.parent(use)
    call = tree.parent(part)
    return isinstance(part, ast.Attribute | ast.Subscript) and isinstance(call, ast.Call) and call.func is part
