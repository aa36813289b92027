"""The program in a model's reply: the content of one fence, tag or field, or the whole reply."""

import ast
import builtins
import html
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from textwrap import dedent
from typing import Literal, NamedTuple, TypeAlias

from codemode_sandboxes.source import Tree, parse

from codemode_graph.check.envelope import PROGRAM_FIELDS, is_program_text, looks_like_code, parses, unwrap
from codemode_graph.model.thoughts import Mark, edges_off, end_of_thoughts, find_mark, is_thought_name

Lack: TypeAlias = Literal["cut-off", "several-blocks", "too-long", "rejected", "no-program"]

_PYTHON = re.compile(r"(?:code|i?python|pycon|py|python-repl|tool_code)?(?:\d[\d.]*)?|[\w.-]+\.py")
_CDATA = re.compile(r"\s*<!\[CDATA\[(.*)\]\]>\s*", re.DOTALL)
_TAGS_BEHIND = re.compile(r"(?:<[^<>\n]{1,60}>[ \t]*){1,8}\Z")
_TURN = re.compile(r"(?:<[|｜]\w{1,20}[|｜]>\s*(?:assistant)?\s*){0,3}")
_FENCE_END = re.compile(r"(?:`{3,}|~{3,})[ \t]*(?=[^\s`~])")
_ONE_LINE = re.compile(r"^[ \t]*(`{3,})(?:python3?\b|py\b)?[ \t]*([^`\n]+)\1[ \t]*$", re.MULTILINE)
# Marks of thoughts that are Python, too: a name, and a list of one name.
_PYTHON_MARK = re.compile(r"assistantfinal|^[ \t]*\[/?(?:THINK|THINKING|THOUGHTS?|REASONING)\]", re.MULTILINE)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#39|#x27);")
# Bounds on the work for one reply, which a hostile model may have written: candidates of each kind, characters that are
# parsed as a block, characters that are parsed as a whole, marks, characters of a reply.
_TRIES = 40
_LONGEST = 200_000
_LONGEST_WHOLE = 100_000
_MARKS = 20_000
_LONGEST_REPLY = 1_000_000
_AROUND = 1_000
_KNOWN = frozenset(dir(builtins)) | {"tools", "again"}
_ACTS = (
    *(ast.Call, ast.Await, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom),
    *(ast.Assign, ast.AugAssign, ast.NamedExpr, ast.Return),
)

_WHY: dict[Lack, str] = {
    "cut-off": "the reply was cut off: {}, so its program is not whole",
    "several-blocks": "the reply has its program in several blocks that need each other; it should hold one ```python block",
    "rejected": "the reply says of its code that it is not to be run, or holds it as a thought; "
    "one ```python block should hold the program that is to run",
    "too-long": f"the model's reply has more than {_LONGEST_REPLY:,} characters",
    "no-program": "the model's reply holds no Python program; it should hold one ```python block",
}


class Reading(NamedTuple):
    """The parts of a reply.

    Attributes:
        program: Its program, lines ended by a line feed, or an empty string. It need not be valid Python.
        lack: Why there is no program; None where there is one.
        why: The same in a sentence.
        words: What is neither thought nor program.
    """

    program: str = ""
    lack: Lack | None = None
    why: str = ""
    words: str = ""


@dataclass(frozen=True)
class _Block:
    """A piece of a reply that may be the program.

    Attributes:
        code: The piece.
        marked: Whether the reply says that it is Python.
        rejected: Whether the words around it say that it is not to be run.
    """

    code: str
    marked: bool = False
    rejected: bool = False

    @cached_property
    def tree(self) -> ast.Module | None:
        try:
            return parse(self.code) if len(self.code) <= _LONGEST else None
        except SyntaxError:
            return None

    @cached_property
    def acts(self) -> bool:
        """True for Python that does more than state a value: it calls, defines, imports, assigns or returns."""
        return self.tree is not None and any(isinstance(node, _ACTS) for node in ast.walk(self.tree))

    @cached_property
    def missing(self) -> set[str]:
        """The names that it needs and does not define."""
        if self.tree is None:
            return set()
        return {name.id for name in Tree(self.tree).unresolved()} - _KNOWN - sys.stdlib_module_names

    @cached_property
    def defines(self) -> set[str]:
        return set() if self.tree is None else set(Tree(self.tree).module.bound)

    @cached_property
    def starts(self) -> bool:
        """True for a block that only starts a function without arguments, and may print what it returns."""
        return (
            self.tree is not None
            and all(isinstance(statement, ast.Import | ast.Expr | ast.Assign | ast.If) for statement in self.tree.body)
            and all(_starts(node) for node in ast.walk(self.tree))
        )


def _starts(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return not isinstance(node, ast.Subscript | ast.BinOp | ast.Lambda | ast.comprehension)
    runs = isinstance(node.func, ast.Attribute) and node.func.attr == "run"
    prints = isinstance(node.func, ast.Name) and node.func.id == "print"
    return runs or prints or not (node.args or node.keywords)


@dataclass
class _Parts:
    """A reply taken apart; `cut` says what its end has left open."""

    pieces: list[str] = field(default_factory=list)
    fences: list[_Block] = field(default_factory=list)
    tags: list[_Block] = field(default_factory=list)
    fenced: bool = False
    inline: bool = False
    cut: str | None = None


def program_of(code: str) -> str:
    """Return the program in a text that a person or an agent gives as one.

    Args:
        code: A program; or a program in a fence or a tag, as a JSON string, under `code` in a JSON object, or as
            `code = '''...'''`.

    Returns:
        The program. A text that is neither Python nor one of these comes back as it is, for the check to say what is wrong.
    """
    code = unwrap(code)
    if parses(code):
        return code
    reading = read_reply(code)
    # What looks like code around the program in a fence is the caller's, and must not be left out.
    return code if looks_like_code(reading.words) else reading.program or code


def read_reply(text: str) -> Reading:
    """Return the program in a model's reply, exactly as it stands there, or why there is none.

    The program is the whole reply where that is Python; else the content of one closed fence, of one closed tag such as
    `<code>`, or of one field `code` in JSON. Of several, it is the last that needs nothing of the others. Thoughts are no
    part of the reply, and no line inside a program is left out. What is left open at the end was cut off.

    Args:
        text: The reply.
    """
    if len(text) > _LONGEST_REPLY:
        return _without("too-long")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not _PYTHON_MARK.search(text) and (whole := _whole(text, edges=False)) is not None:
        return Reading(program=unwrap(whole.code))
    unwrapped = unwrap(text)
    if unwrapped != text:
        inner = read_reply(unwrapped)
        # A field that holds no fence is a program, also where it is not Python.
        return inner if inner.lack is None else Reading(program=unwrapped)
    parts = _take_apart(text)
    words = "\n".join(piece.strip() for piece in parts.pieces if piece.strip())
    if parts.cut is not None:
        return _without("cut-off", words, parts.cut)
    blocks = parts.fences or parts.tags
    if blocks and all(block.rejected for block in blocks):
        return _without("rejected", words)
    blocks = [block for block in blocks if not block.rejected]
    if not parts.fenced and not parts.tags:
        pieces = [piece for piece in parts.pieces if piece.strip()]
        if len(pieces) == 1 and not parts.inline and (whole := _whole(pieces[0])) is not None:
            return Reading(program=unwrap(whole.code))
        if looks_like_code(words):
            # Broken code, whose texts may hold anything: the check says what is wrong with it.
            broken = _block(pieces[0]) if len(pieces) == 1 else None
            return Reading(program=broken.code) if broken and broken.tree is None else _without("no-program", words)
        blocks = [_block(code, marked=True) for piece in pieces for code in _fields(piece)]
    elif (parts.tags and not parts.fenced and looks_like_code(words)) or _in_string(parts):
        return Reading(program=text)  # the same: a tag in a text of a program that does not parse
    is_open = words.lstrip("\ufeff \n")[:1] == "{" and re.search(r'"(?:code|program)"\s*:\s*"', words)
    if not blocks and is_open and not _is_json(words):
        return _without("cut-off", words, "its JSON has no end")
    return _choose(blocks, words)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _in_string(parts: _Parts) -> bool:
    """Return whether a fence or tag stands in a string of code that has no fence around it."""
    before = next((piece for piece in parts.pieces if piece.strip()), "")
    return looks_like_code(before) and any(before.count(quotes) % 2 for quotes in ('"""', "'''"))


def _without(lack: Lack, words: str = "", cut: str = "") -> Reading:
    return Reading(lack=lack, why=_WHY[lack].format(cut), words=words)


def _choose(blocks: list[_Block], words: str) -> Reading:
    """Return the last block that needs nothing of the others; none where the last ones belong together."""
    acting = [block for block in blocks if block.acts or (block.tree is None and block.marked)]
    marked = [block for block in acting if block.marked]
    candidates = marked or acting or [block for block in blocks if block.tree is not None] or blocks
    candidates = [block for block in candidates if block.code.strip()]
    for index in range(len(candidates) - 1, -1, -1):
        block, before = candidates[index], candidates[:index]
        defined_before = {name for other in before for name in other.defines}
        if not block.missing & defined_before:
            # One that needs a name which nothing defines shows how to use the program, unless there is no other.
            if block.missing and before:
                continue
            return Reading(program=unwrap(block.code), words=words)
        if not block.starts:
            return _without("several-blocks", words)
    return _without("no-program", words)


def _whole(text: str, edges: bool = True) -> _Block | None:
    """Return a text as a program, where it is Python that does something, perhaps between marks of a chat template."""
    # `~~~python` is an expression, too.
    if len(text) > _LONGEST_WHOLE or text.lstrip().startswith("~~~"):
        return None
    block = _block(text, edges=edges)
    return block if block.acts else None


def _block(code: str, marked: bool = False, edges: bool = True) -> _Block:
    code = dedent(code.strip("\n")).rstrip() + "\n"
    lines = code.rstrip("\n").split("\n")
    if all(line.startswith((">>> ", "... ")) or line in (">>>", "...") for line in lines):
        code = "\n".join(line[4:] for line in lines) + "\n"
    block = _Block(code, marked)
    if block.tree is not None or len(code) > _LONGEST or not edges:
        return block
    others = [dedent(shorter.strip("\n")).rstrip() + "\n" for shorter in edges_off(code)]
    if _ENTITY.search(code) and not re.search(r"[<>]|&(?!\w+;|#\w+;)", code):
        others.append(html.unescape(code))  # the whole of it was escaped, so that nothing else can be meant
    return next((other for text in others if (other := _Block(text, marked)).tree is not None), block)


def _take_apart(text: str) -> _Parts:
    parts, at = _Parts(), 0
    for _ in range(_MARKS):
        mark = find_mark(text, at)
        if mark is None:
            parts.pieces.append(text[at:])
            return parts
        parts.pieces.append(text[at : mark.start])
        if mark.kind == "open":
            # Within a line of code the mark may be in a string, and the code go on behind it.
            parts.inline |= bool(text[text.rfind("\n", 0, mark.start) + 1 : mark.start].strip())
            end = end_of_thoughts(text, mark)
            if end is None:
                parts.cut = "its thoughts have no end"
                return parts
            at = end
        elif mark.kind == "close":
            parts, at = _Parts(), mark.end  # what came before were thoughts, whose beginning the service leaves out
        elif mark.kind == "end":
            if parts.fenced or parts.tags or any(piece.strip() for piece in parts.pieces):
                return parts  # a model that goes on writes the turns of others
            role = re.compile(r"\s*(?:assistant|model)\b").match(text, mark.end)
            at = role.end() if role else mark.end
        elif mark.kind == "program":
            closer = re.compile(rf"</\s*{re.escape(mark.name)}\s*>", re.IGNORECASE)
            closings = list(islice(closer.finditer(text, mark.end), _TRIES))
            if not closings:
                parts.cut = f"its tag {mark.text[:40]} is not closed"
                return parts
            # A tag in a string does not end the program: take the first one up to which it parses.
            contents = [_without_cdata(text[mark.end : each.start()]) for each in closings]
            number = next((n for n, each in enumerate(contents) if parses(dedent(each.strip("\n")))), 0)
            closing, content = closings[number], contents[number]
            if "```" in content:
                at = mark.end
                parts.pieces.append("")
                text = text[: closing.start()] + "\n" + text[closing.end() :]
            else:
                block = _block(content, marked=True)
                follows = bool(parts.tags)
                parts.tags.append(_judged(block, parts.pieces[-1], text[closing.end() :], follows=follows))
                at = closing.end()
        else:
            known = len(parts.fences)
            at, before = _take_fence(text, mark, parts), parts.pieces[-1] if parts.pieces else ""
            behind = "" if at < 0 else text[at : at + _AROUND]
            new = parts.fences[known:]
            parts.fences[known:] = [_judged(block, before, behind, follows=known > 0) for block in new]
            if at < 0:
                return parts
    return _Parts(cut="it has no end")


def _without_cdata(content: str) -> str:
    found = _CDATA.fullmatch(content)
    return content if found is None else found[1]


def _judged(block: _Block, before: str, behind: str, *, follows: bool) -> _Block:
    # Its patterns take time to compile, which programs that people write need not wait for.
    from codemode_graph.model.rejection import is_rejected

    return replace(block, rejected=True) if is_rejected(before, behind, follows=follows) else block


def _take_fence(text: str, mark: Mark, parts: _Parts) -> int:
    """Add the block behind an opening fence to the parts; return the offset behind it, or -1 at the end of the reply."""
    before = text[text.rfind("\n", 0, mark.start) + 1 : mark.start]
    if one_line := _ONE_LINE.match(text, mark.start - len(before)):
        single = _block(one_line[2], marked=True, edges=False)
        # Between the end of one fence and the start of the next there are marks.
        if single.tree is not None or find_mark(one_line[2]) is None:
            parts.fences.append(single)
            parts.fenced = True
            return one_line.end()
    if is_thought_name(mark.name):
        end = _end_of_nested(text, mark)
        if end < 0:
            parts.cut = "its thoughts have no end"
        return end
    block, end = None, -1
    for tries, (content, behind) in enumerate(_closings(text, mark)):
        shorter = _block(content, mark.name != "")
        if block is None or shorter.tree is not None:
            block, end = shorter, behind
        # A fence inside a string does not end the block: take the first one up to which it parses.
        if shorter.tree is not None or tries >= _TRIES:
            break
    rest = text[mark.end :]
    if (closed := _closed_thoughts(rest if block is None else text[mark.end : end], block)) is not None:
        parts.pieces, parts.fences, parts.tags, parts.fenced = [], [], [], False
        return mark.end + closed
    if block is None:
        bare = [shorter for shorter in edges_off(rest) if re.fullmatch(r"(?s).*\n[ \t]*`+\s*", rest)]
        ended = next((inner for shorter in bare if (inner := _block(shorter, mark.name != "")).acts), None)
        if ended is not None:
            parts.fences.append(ended)  # its closing fence is shorter than the one that opens it
            parts.fenced = True
        elif mark.name or rest.strip():
            parts.cut = "its last fence is not closed"
        return -1
    parts.fenced = True
    if _PYTHON.fullmatch(mark.name):
        parts.fences.append(block)
    elif mark.name in ("json", "jsonc", "json5", "javascript", "js") and (codes := list(_fields(block.code))):
        parts.fences += [_block(code, marked=True) for code in codes]
    return end


def _closings(text: str, mark: Mark) -> Iterator[tuple[str, int]]:
    """Yield the content of a fence up to each line that may close it, and the offset behind that line."""
    start = at = min(mark.end + 1, len(text))
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].rstrip()
        body = _without_marks(line)
        code = body.rstrip(mark.text[0])
        closes = len(body) - len(code) >= len(mark.text) and mark.text[0] * 3 not in code
        if closes and not code.lstrip().startswith(("#", '"', "'")):
            yield text[start:at] + code, at + text[at:end].rfind(mark.text) + len(mark.text)
        at = end + 1


def _without_marks(line: str) -> str:
    """Return a line that may close a fence without the tags, or the mark that closes thoughts, behind its end."""
    if line.endswith(">"):
        line = _TAGS_BEHIND.sub("", line[-600:]).rstrip()
    if (end := _FENCE_END.search(line)) is not None:
        mark = find_mark(line, end.end())
        # A turn of the assistant may begin before the channel of its answer.
        if mark and mark.kind in ("close", "end") and _TURN.fullmatch(line, end.end(), mark.start):
            return line[: end.end()].rstrip()
    return line


def _end_of_nested(text: str, mark: Mark) -> int:
    """Return the offset behind a fence of thoughts, in which there may be other fences; -1 where it is not closed."""
    depth = 1
    for line in re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*(\S*)[^\n]*$", re.MULTILINE).finditer(text, mark.end + 1):
        depth += 1 if line[2] else -1
        if depth == 0:
            return line.end()
    return -1


def _closed_thoughts(content: str, block: _Block | None) -> int | None:
    """Return the offset in a fence's content behind the last mark that closes thoughts which it does not open.

    The fence stands in thoughts then, whose beginning the service leaves out. A mark in a string is the program's own.
    """
    opened: list[str] = []
    found, at = None, 0
    for _ in range(_MARKS):
        mark = find_mark(content, at)
        if mark is None:
            return found
        at = mark.end
        line = content[content.rfind("\n", 0, mark.start) + 1 : mark.start]
        if block is not None and block.tree is not None and "#" not in line:
            continue
        if mark.kind == "open":
            opened.append(mark.name)
        elif mark.kind == "close" and mark.name in opened:
            opened.remove(mark.name)
        elif mark.kind == "close":
            found = mark.end
    return found


def _fields(text: str) -> Iterator[str]:
    """Yield the programs under `code` in the JSON objects of a text; line feeds in them may be unescaped."""
    decoder, at = json.JSONDecoder(strict=False), text.find("{")
    for _ in range(_TRIES):
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        if (code := _under_key(value)) is not None:
            yield code
        at = text.find("{", end)


def _under_key(value: object, depth: int = 0) -> str | None:
    if not isinstance(value, dict) or depth > 4:
        return None
    for key in PROGRAM_FIELDS:
        if isinstance(code := value.get(key), str) and code.strip() and (parses(code) or is_program_text(code)):
            return code
    return next((code for inner in value.values() if (code := _under_key(inner, depth + 1))), None)
