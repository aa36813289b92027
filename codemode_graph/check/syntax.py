"""Texts that are not Python, Python that the sandbox does not run, and names that nothing defines."""

import __future__

import ast
import builtins
import difflib
import re
from collections.abc import Collection, Iterable, Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.source import Scope, Tree, is_waiting

from codemode_graph.check.modules import instead_of
from codemode_graph.check.tool_uses import same_tools
from codemode_graph.state import Finding
from codemode_graph.tools.text import one_line

# Marks of JavaScript, which some models write when they hear of tools: at the start of a line, and where the parser stops.
_SCRIPT = re.compile(r"^\s*(?:(?:const|let|var)\s+[\w{\[]|(?:async )?function\s+\w+\s*\(|//)")
_OPERATOR = re.compile(r"[ \w)]?\s?(?:=>|===|!==|&&|\|\|)")
_UNENDED = re.compile(r"(?:[,(\[{=+*/:.\\-]|\b(?:and|or|not|in|is|await|return await|import|lambda))$")
_WIDTH = 120
_KNOWN = frozenset(dir(builtins)) | {"tools", "again", "__name__", "__file__"}
_LACKING = {"os": "os", "sys": "sys", "requests": "requests", "httpx": "httpx", "np": "numpy", "pd": "pandas"}
_DEFINERS = ("exec", "globals", "locals", "vars")
_MOST = 15
_TAKE_STARRED = (ast.List, ast.Tuple, ast.Set, ast.Call, ast.ClassDef, ast.arg)


def find_misplaced(tree: Tree) -> Iterator[Finding]:
    """Find statements that parse but do not compile where they stand."""
    # The program is not compiled for this: nested comprehensions are enough to crash some versions of Python.
    for node in tree.nodes:
        match node:
            case ast.Break() | ast.Continue() if not _is_in_loop(tree, node):
                yield _misplaced(node, f"'{type(node).__name__.lower()}' outside of a loop")
            case _ if is_waiting(node) and not _may_wait(tree, node):
                shown = node.target if isinstance(node, ast.comprehension) else node
                assert isinstance(shown, ast.expr | ast.stmt)
                yield _misplaced(shown, "'await' outside of an async function; write `async def`, and await its calls")
            case ast.Yield() | ast.YieldFrom() if tree.scope(node).kind not in ("function", "lambda"):
                yield _misplaced(node, "'yield' outside of a function")
            case ast.Return() if tree.scope(node).kind == "class":
                yield _misplaced(node, "'return' outside of a function")
            case ast.Nonlocal(names=names):
                for name in names:
                    owner = tree.resolve(name, tree.scope(node))
                    if owner is None or owner is tree.module:
                        yield _misplaced(
                            node, f"there is no variable {name} in a function around this one; use `global`"
                        )
            case ast.Global(names=names):
                yield from _misdeclared(tree, node, names)
            case ast.NamedExpr(target=target):
                yield from _rebound(tree, node, target.id)
            case ast.Starred(ctx=ast.Load()) if not isinstance(tree.parent(node), _TAKE_STARRED):
                yield _misplaced(node, "can't use starred expression here")
            case ast.ImportFrom(module="__future__", names=aliases):
                unknown = [alias.name for alias in aliases if alias.name not in __future__.all_feature_names]
                yield from (_misplaced(node, f"future feature {name} is not defined") for name in unknown[:1])
            case ast.Try(handlers=handlers) if any(each.type is None for each in handlers[:-1]):
                yield _misplaced(node, "default 'except:' must be last")


def _misdeclared(tree: Tree, node: ast.Global, names: Iterable[str]) -> Iterator[Finding]:
    """Yield findings for names that a function declares global and also binds in a way that makes them its own."""
    function = tree.scope(node).node
    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        # Not those of a lambda among the defaults.
        own = {each.arg for each in tree.of(ast.arg) if tree.parent(each) is function.args}
        annotated = {
            each.target.id
            for each in tree.of(ast.AnnAssign)
            if isinstance(each.target, ast.Name) and tree.scope(each) is tree.scope(node)
        }
        for name in names:
            if name in own:
                yield _misplaced(node, f"name {name!r} is parameter and global")
            elif name in annotated:
                yield _misplaced(node, f"annotated name {name!r} can't be global")


def _rebound(tree: Tree, node: ast.NamedExpr, name: str) -> Iterator[Finding]:
    """Yield a finding for an assignment in a comprehension that would change what the comprehension goes over."""
    inner: ast.AST = node
    for around in tree.ancestors(node):
        if isinstance(around, ast.comprehension) and inner is around.iter:
            yield _misplaced(node, "assignment expression cannot be used in a comprehension iterable expression")
            return
        generators: list[ast.comprehension] = getattr(around, "generators", [])
        targets = [each for part in generators for each in ast.walk(part.target)]
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            yield _misplaced(node, f"assignment expression cannot rebind comprehension iteration variable {name!r}")
            return
        if isinstance(around, ast.stmt | ast.Lambda):
            return
        inner = around


def _may_wait(tree: Tree, node: ast.AST) -> bool:
    scope = tree.scope(node)
    while scope.kind == "comprehension" and scope.parent is not None:
        if isinstance(scope.node, ast.GeneratorExp):
            return True  # it becomes an asynchronous generator, wherever it stands
        scope = scope.parent
    return scope.kind not in ("class", "lambda") and not isinstance(scope.node, ast.FunctionDef)


def _misplaced(node: ast.stmt | ast.expr, message: str) -> Finding:
    return Finding(rule="syntax-error", message=message, line=node.lineno)


def _is_in_loop(tree: Tree, node: ast.AST) -> bool:
    inner = node
    for around in tree.ancestors(node):
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return False
        if isinstance(around, ast.For | ast.AsyncFor | ast.While) and inner in around.body:
            return True
        inner = around
    return False


def syntax_finding(error: SyntaxError, code: str) -> Finding:
    """Return the finding for a syntax error: the parser's words, the line with a caret, and a hint that is surely right."""
    lines = code.split("\n")
    line = error.lineno if error.lineno and error.lineno <= len(lines) else None
    message = one_line(re.sub(r" \(<\w+>, line \d+\)", "", error.msg or "invalid syntax"), 200)
    # As it was written: quotes and backticks in it may be what is wrong.
    text = _printable(lines[line - 1]).strip()[:_WIDTH] if line else ""
    finding = Finding(rule="syntax-error", message=message, line=line)
    if text:
        column, excerpt = _point(error, lines[(line or 1) - 1])
        finding["message"] += f": `{text}`{_hint(error, lines, line)}" + (f" (column {column})" if column else "")
        finding["excerpt"] = excerpt
    return finding


def _point(error: SyntaxError, text: str) -> tuple[int | None, str]:
    """Return the column of a syntax error, counted from 1, and its line with carets under what the parser points to."""
    text = _printable(text)
    # The parser has seen the program without its common indentation, and of an f-string perhaps a part.
    seen = _printable((error.text or "").rstrip("\n"))
    shift = text.find(seen) if seen.strip() else -1
    indent = len(text) - len(text.lstrip())
    shown = text.strip()
    if shift < 0 or not error.offset or error.offset < 1:
        return None, shown[:_WIDTH]
    start = max(min(error.offset - 1 + shift - indent, len(shown)), 0)
    same_line = error.end_lineno == error.lineno and error.end_offset
    end = max(start + 1, min((error.end_offset or 0) - 1 + shift - indent, len(shown)) if same_line else 0)
    # Of a long line the part around the error is shown.
    first = max(0, start - _WIDTH // 2) if len(shown) > _WIDTH else 0
    carets = "^" * (min(end, first + _WIDTH) - start)
    return start + indent + 1, f"{shown[first : first + _WIDTH]}\n{' ' * (start - first)}{carets}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _hint(error: SyntaxError, lines: list[str], line: int | None) -> str:
    text = lines[line - 1] if line else ""
    if _SCRIPT.search(text) or (error.offset and _OPERATOR.match(text[max(0, error.offset - 2) :])):
        return "; write Python, no other language"
    whole = "\n".join(lines).rstrip()
    last = whole.rpartition("\n")[2].rstrip()
    # A statement cannot end there, so the text ended before the program did.
    if (
        line is not None
        and _UNENDED.search(last)
        and (
            line >= whole.count("\n") + 1
            or "was never closed" in str(error.msg)
            or "unterminated triple" in str(error.msg)
        )
    ):
        return "; the end of the program is missing"
    return ""


def find_unsupported(tree: Tree, gaps: Iterable[Gap]) -> Iterator[Finding]:
    """Find Python that the sandbox does not run: one finding a kind, at its first line."""
    for gap in gaps:
        lines = sorted({_line(node) for node in tree.found_by(gap.find)})
        if lines:
            more = f" (also on line {', '.join(map(str, lines[1:6]))})" if len(lines) > 1 else ""
            message = f"{gap.name}: not available here; {gap.substitute}{more}"
            yield Finding(rule="unsupported-syntax", message=message, line=lines[0])


def _line(node: ast.AST) -> int:
    """Return the line of a node, or of the first node in it that has one."""
    return next((n.lineno for n in ast.walk(node) if isinstance(n, ast.expr | ast.stmt | ast.alias | ast.arg)), 1)


def find_undefined_names(tree: Tree, tools: Collection[str] = ()) -> Iterator[Finding]:
    """Find names that are read but that neither Python nor the program defines, one finding a name.

    Args:
        tree: The program.
        tools: The names of the tools, one of which may be meant.
    """
    # A program that uses `exec` and the like may define names in ways that its text does not show.
    if any(scope.star for scope in tree.scopes()) or any(tree.names(name) for name in _DEFINERS):
        return
    found: set[str] = set()
    for name in tree.unresolved():
        if name.id in _KNOWN or name.id in found:
            continue
        found.add(name.id)
        parent = tree.parent(name)
        attribute = parent.attr if isinstance(parent, ast.Attribute) else ""
        message = _message(name.id, attribute, tree.scope(name), tools)
        yield Finding(rule="undefined-name", message=message, line=name.lineno)


def _message(name: str, attribute: str, scope: Scope, tools: Collection[str]) -> str:
    head = f"{one_line(name, 80)} is not defined"
    if suggestions := same_tools(name, tools) or [tool for tool in tools if tool.startswith(f"{name}.")]:
        shown = " or ".join(f"tools[{tool!r}](...)" for tool in suggestions[:_MOST])
        return f"{head}; did you mean {shown}?"
    if name in _LACKING:
        return f"{head}, and the module {_LACKING[name]} does not exist here: {instead_of(_LACKING[name])}"
    # `client.pay(5)`, as if the tools were the methods of something.
    if attribute and (suggestions := same_tools(attribute, tools)):
        return f"{head}; did you mean {' or '.join(f'tools[{tool!r}](...)' for tool in suggestions[:_MOST])}?"
    defined: dict[str, None] = {}
    around: Scope | None = scope
    while around is not None:
        defined.update(dict.fromkeys(around.bound))
        around = around.parent
    close = difflib.get_close_matches(name, defined, 1)
    if close:
        return f"{head}; did you mean {close[0]}?"
    own = ", ".join([*list(defined)[:_MOST], "tools"])
    return f"{head}; what is defined there: {own}, and Python's own names"


def exceptions_of(handler: ast.ExceptHandler) -> set[str]:
    """Return the names of the exceptions that a handler catches."""
    if handler.type is None:
        return {"BaseException"}
    return {each.id for each in ast.walk(handler.type) if isinstance(each, ast.Name)}
