"""The program in a model's reply, in fences, tags or JSON, or bare between sentences."""

import ast
import builtins
import html
import json
import keyword
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from textwrap import dedent

from codemode_sandboxes.source import Tree, parse

from codemode_graph.errors import ModelError

__all__ = ["Block", "blocks_of", "extract_program"]

_PYTHON = {"", "code", "ipython", "pycon", "py", "py3", "python", "python3", "tool_code"}
_OPEN = re.compile(r"(?P<before>.*?)(?P<fence>`{3,}|~{3,})[ \t]*\{?\.?(?P<language>[\w+#-]*)[^`~]*$")
_ONE_LINE = re.compile(r"```(?:python\b|py\b)?[ \t]*([^`\n]+)```")
_INLINE = re.compile(r"`([^`\n]*\btools\b[^`\n]*)`")
_THOUGHTS = re.compile(r"<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(
    r"<(code|execute|execute_python|program|python|script|tool_code)\b[^>\n]*>(.*?)(?:</\1>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_JSON_KEYS = ("code", "program", "python", "script")
_QUOTED = re.compile(r"""("[^"\n]*"|'[^'\n]*'|#.*)""")
_PAIR = re.compile(r"(?<![\w.])([A-Za-z][\w’'-]*),?[ \t]+(?=([A-Za-z][\w’'-]*))")
_LABEL = re.compile(r"\W*([A-Za-z]\w*)[\w ,’'*-]*[:!.?…]\W*")
_RULE = re.compile(r"[-*_=~#>\s]+")
_CODE = re.compile(r"^\s*(?:await |async def |def |import |from \w+ import |\w+ = .*\btools\b)", re.MULTILINE)
_KEYWORDS = {*keyword.kwlist, *keyword.softkwlist}
# Bounds on the work for one reply, which a hostile model may have written: candidates of each kind, characters that are
# parsed as a block, characters that are parsed as a whole.
_TRIES = 40
_LONGEST = 200_000
_LONGEST_WHOLE = 100_000


@dataclass(frozen=True)
class Block:
    """A piece of a reply that may be code.

    Attributes:
        code: Its text, without common indentation.
        marked: Whether the reply marks it as Python.
    """

    code: str
    marked: bool = False

    @cached_property
    def tree(self) -> ast.Module | None:
        """Its syntax tree, or None where it is not Python, or longer than any program may be."""
        try:
            return parse(self.code) if len(self.code) <= _LONGEST else None
        except SyntaxError:
            return None

    @cached_property
    def acts(self) -> bool:
        """True for Python that does more than state a value: it calls, defines, imports, assigns or returns."""
        return self.tree is not None and any(isinstance(node, _ACTS) for node in ast.walk(self.tree))


_ACTS = (
    *(ast.Call, ast.Await, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom),
    *(ast.Assign, ast.AugAssign, ast.NamedExpr, ast.Return),
)


def blocks_of(text: str) -> list[Block]:
    """Return the pieces of a reply that may be its program, in order.

    Args:
        text: The reply, lines ended by a line feed.

    Returns:
        The whole reply where it is Python; else the code in fences; else in tags such as `<code>`; else the lines that are
        no prose; else the string under `code` in a JSON object. Empty where nothing looks like code.
    """
    # Drafts in a model's thoughts are not its program, unless it wrote nothing else.
    text = _THOUGHTS.sub("", text).strip("\n") or text
    if len(text) <= _LONGEST_WHOLE and (whole := _block(text)).acts:
        return [whole]
    if text.lstrip().startswith("{") and (code := _json_code(text, whole=True)):
        return blocks_of(code) if code.count("```") > 1 else [_block(code, marked=True)]
    finders: list[Callable[[str], list[Block]]] = [_fenced, _tagged, _bare, _in_json, _inline, _broken]
    return next((blocks for find in finders if (blocks := [b for b in find(text) if b.code.strip()])), [])


def _block(code: str, marked: bool = False) -> Block:
    code = dedent(code.strip("\n")).rstrip() + "\n"
    # A transcript of the interactive prompt: the lines without a prompt are its output.
    if code.startswith(">>> "):
        lines = [line[4:] for line in code.split("\n") if line.startswith((">>>", "..."))]
        code = "\n".join(lines) + "\n"
    block = Block(code, marked)
    if block.tree is None and re.search(r"&(?:lt|gt|amp|quot|#39|#x27);", code):
        # Some services escape what looks like markup. Code that parses as it stands is never unescaped.
        plain = Block(html.unescape(code), marked)
        return plain if plain.tree is not None else block
    return block


def _fenced(text: str) -> list[Block]:
    lines = text.split("\n")
    blocks: list[Block] = []
    number, tries = 0, _TRIES
    while number < len(lines) and len(blocks) < _TRIES:
        opening = _OPEN.match(lines[number])
        number += 1
        if opening is None:
            continue
        fence, language = opening["fence"], opening["language"].lower()
        block, after = _block("\n".join(lines[number:]), language != ""), len(lines)
        ends = (i for i in range(number, len(lines)) if _closes(lines[i], fence))
        for index, end in enumerate(ends):
            body = [*lines[number:end], lines[end].rstrip().rstrip(fence[0])]
            shorter = _block("\n".join(body), language != "")
            if index == 0 or shorter.tree is not None:
                block, after = shorter, end + 1
            # A fence inside a string does not end the block: take the first one up to which it parses.
            tries -= 1
            if shorter.tree is not None or tries < 0:
                break
        number = after
        if language in _PYTHON:
            blocks.append(block)
        elif code := _json_code(block.code):
            blocks.append(_block(code, marked=True))
    return blocks or [_block(code, marked=True) for code in _ONE_LINE.findall(text)[:_TRIES]]


def _closes(line: str, fence: str) -> bool:
    """Return whether a line ends with a fence of the same kind, alone or right behind the last line of code."""
    line = line.rstrip()
    return line.endswith(fence) and not line.lstrip().startswith(("#", '"', "'")) and line.count(fence[0] * 3) == 1


def _tagged(text: str) -> list[Block]:
    return [_block(code, marked=True) for _, code in _TAG.findall(text)[:_TRIES]]


def _bare(text: str) -> list[Block]:
    lines = text.split("\n")
    while lines and (not lines[0].strip() or _is_prose(lines[0])):
        del lines[0]
    while lines and (not lines[-1].strip() or _is_prose(lines[-1])):
        del lines[-1]
    whole = _block("\n".join(lines))
    if whole.acts:
        return [whole]
    runs: list[list[str]] = [[]]
    for line in lines:
        if _is_prose(line):
            runs.append([])
        else:
            runs[-1].append(line)
    return [block for run in runs[:_TRIES] if run and (block := _block("\n".join(run))).acts]


def _is_prose(line: str) -> bool:
    """Return whether a line has two adjacent words that are no keywords, or is a label such as "Explanation:"."""
    # The patterns take time that grows with the square of a line.
    line = line[:400]
    plain = _QUOTED.sub(" ", line)
    if any(first not in _KEYWORDS and second not in _KEYWORDS for first, second in _PAIR.findall(plain)):
        return True
    label = _LABEL.fullmatch(line)
    return (label is not None and label[1] not in _KEYWORDS) or bool(line.strip() and _RULE.fullmatch(line))


def _in_json(text: str) -> list[Block]:
    code = _json_code(text)
    return [] if code is None else [_block(code, marked=True)]


def _json_code(text: str, whole: bool = False) -> str | None:
    """Return the string under `code` in the first JSON object that has one; line feeds in it may be unescaped."""
    decoder = json.JSONDecoder(strict=False)
    at = text.find("{")
    for _ in range(_TRIES):
        if at < 0:
            return None
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            value, end = None, at + 1
        code = _under_key(value)
        if code is not None and (not whole or not text[end:].strip()):
            return code
        at = -1 if whole else text.find("{", end)
    return None


def _under_key(value: object, depth: int = 0) -> str | None:
    # Deep enough for a tool call in a message in a list of choices.
    if not isinstance(value, dict) or depth > 4:
        return None
    for key in _JSON_KEYS:
        if isinstance(code := value.get(key), str) and code.strip():
            return code
    return next((code for inner in value.values() if (code := _under_key(inner, depth + 1))), None)


def _inline(text: str) -> list[Block]:
    return [block for code in _INLINE.findall(text)[:_TRIES] if (block := _block(code)).acts]


def _broken(text: str) -> list[Block]:
    """Return text that looks like code but does not parse: the check will tell the model why."""
    lines = text.split("\n")
    code = [i for i, line in enumerate(lines) if _CODE.match(line)]
    return [_block("\n".join(lines[code[0] :]))] if code else []


_KNOWN = frozenset(dir(builtins)) | {"tools"}
_DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class|import|from)[ \t]+(\w+)|^(\w+)[ \t]*=(?!=)", re.MULTILINE)
_LONGEST_REPLY = 1_000_000


def extract_program(text: str) -> str:
    """Return the program in a model's reply.

    It is the last block of code that needs no names but those of earlier blocks, joined with the blocks that define
    them; failing that, the longest block.

    Args:
        text: The reply: prose, fenced blocks, tags, JSON with the program under `code`, or the bare program.

    Returns:
        The program, its lines ended by a line feed. It need not be valid Python: a check says what is wrong with it.

    Raises:
        ModelError: The reply has no program.
    """
    if len(text) > _LONGEST_REPLY:
        raise ModelError(f"the model's reply has more than {_LONGEST_REPLY:,} characters")
    blocks = blocks_of(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))
    acting = [block for block in blocks if block.acts or (block.tree is None and block.marked)]
    blocks = acting or [block for block in blocks if block.tree is not None] or blocks
    if not blocks:
        raise ModelError("the model's reply holds no Python program; it should hold one ```python block")
    # From the end: a model that improves on its program writes the better one last.
    for index in range(len(blocks) - 1, -1, -1):
        needed, missing = _with_definitions(blocks, index)
        if missing <= sys.stdlib_module_names:
            return "\n".join(block.code for block in needed)
    return max(blocks, key=lambda block: len(block.code)).code


def _with_definitions(blocks: list[Block], index: int) -> tuple[list[Block], set[str]]:
    """Return a block with the nearest ones before it that define its names, and the names that none defines."""
    before, blocks = blocks[:index], [blocks[index]]
    missing = _missing_names(blocks[0])
    for block in reversed(before):
        names = _defined_names(block)
        if names & missing:
            blocks.insert(0, block)
            missing = (missing | _missing_names(block)) - names
    return blocks, missing


def _missing_names(block: Block) -> set[str]:
    if block.tree is None:
        return set()
    return {name.id for name in Tree(block.tree).unresolved()} - _KNOWN


def _defined_names(block: Block) -> set[str]:
    if block.tree is None:
        return {name for pair in _DEFINED.findall(block.code) for name in pair if name}
    return set(Tree(block.tree).module.bound)
