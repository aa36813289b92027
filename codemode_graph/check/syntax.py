"""Programs that do not compile, and what the sandbox does not run."""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator

from codemode_sandboxes.language import Gap
from codemode_sandboxes.source import parse

from codemode_graph.state import Finding
from codemode_graph.tools.text import one_line

__all__ = ["find_syntax_errors", "find_unsupported", "syntax_finding"]

_SCRIPT = re.compile(r"^\s*(?:const|let|var|function|async function)\s|=>|===|&&|\|\||\bnew \w+\(|[{;]\s*$|^\s*//")


def find_syntax_errors(code: str) -> list[Finding]:
    """Compile a program in script form; what the parser lets pass, such as `break` outside of a loop, is found too."""
    try:
        parse(code)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "<program>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        return [syntax_finding(error, code)]
    except (RecursionError, MemoryError, ValueError, OverflowError):
        return [Finding(rule="syntax-error", message="the program is too complex to compile", line=None)]
    return []


def syntax_finding(error: SyntaxError, code: str) -> Finding:
    """Tell a syntax error, its line, and what usually is behind it."""
    lines = code.split("\n")
    line = error.lineno if error.lineno and error.lineno <= len(lines) else None
    message = one_line(re.sub(r" \(<\w+>, line \d+\)", "", error.msg or "invalid syntax"), 200)
    text = one_line(lines[line - 1], 120) if line else ""
    if text:
        message = f"{message}: `{text}`"
    return Finding(rule="syntax-error", message=message + _advice(error, lines, line), line=line)


def _advice(error: SyntaxError, lines: list[str], line: int | None) -> str:
    text = lines[line - 1] if line else ""
    if "f-string" in str(error.msg):
        return "; inside the braces of an f-string use other quotes than around it, and no backslash"
    if _SCRIPT.search(text):
        return "; write Python, no other language"
    last = len("\n".join(lines).rstrip().split("\n"))
    if line is not None and (
        "was never closed" in str(error.msg) or "unterminated triple" in str(error.msg) or line >= last
    ):
        return "; the end of the program is missing" if line >= last or "unterminated" in str(error.msg) else ""
    return ""


def find_unsupported(tree: ast.Module, gaps: Iterable[Gap]) -> Iterator[Finding]:
    """Find Python that the sandbox does not run: one finding a kind, at its first line."""
    for gap in gaps:
        lines = sorted({_line(node) for node in gap.find(tree)})
        if lines:
            more = f" (also on line {', '.join(map(str, lines[1:6]))})" if len(lines) > 1 else ""
            message = f"{gap.name}: not available here; {gap.substitute}{more}"
            yield Finding(rule="unsupported-syntax", message=message, line=lines[0])


def _line(node: ast.AST) -> int:
    """The line of a node, or of the first thing in it that has one."""
    return next((n.lineno for n in ast.walk(node) if isinstance(n, ast.expr | ast.stmt | ast.alias | ast.arg)), 1)
