"""The marks in a reply that are no part of a program: those of thoughts, of turns, and of programs in tags."""

import re
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

MarkKind: TypeAlias = Literal["open", "close", "end", "program", "fence"]

# `re` compiles a pattern at its first use and keeps it: a process whose model writes no text does not wait for these.
_THOUGHT = (
    r"think|thought|reason|reflect|scratch|analys|monolog|ponder|brainstorm|deliberat|rationale|contemplat|introspect"
    r"|working_?out|inner_?(?:prefix|suffix|voice)|musing|critique|speculat|^(?:\w+:)?(?:cot|plan|planning|draft|notes?|inner|internal|hidden)$"
)
_NAMES = r"(?:code|execute|execute_python|python_code|program|python|script|tool_code)"
# `<parameter=code>` and `<parameter name="code">` are how models write the call of a tool that runs code.
_PROGRAM = rf"{_NAMES}(?=\s|$)|(?:\w+:)?parameter(?:=|\s+name=)[\"']?{_NAMES}[\"']?$"
_ENDS = (
    r"(?:im_end|eot_id|eom_id|end_of_turn|endoftext|end|return|call|eos|end_of_(?:sentence|text|message)|end_response|eot|eom"
    r"|turn|/s|end_turn|im_start|start_header_id|start_of_turn|start|user|human|system|tool|/?inst|observation|ipython)"
)
_STEP = r"^(?:begin|start|end|stop)_?(?:of_?)?(?=\w)|_(?:begin|start|end|stop)$"
_MARK = (
    r"(?m)(?P<fence>`{3,}|~{3,})[ \t]*\{?\.?(?P<language>[\w+#.-]*)[^`~\n]*(?=\n|\Z)"
    r"|(?P<next><[|｜]end[|｜]>\s{0,5}<[|｜]start[|｜]>\s{0,5}assistant\s{0,5}(?=<[|｜]channel))"
    r"|<[|｜]?channel[|｜]?>\s{0,5}(?P<channel>\w{1,40})[^<\n]{0,200}(?:<[|｜]message[|｜]>)?"
    r"|(?P<details><details\b[^<>]{0,200}>\s{0,20}(?:<summary[^<>]{0,80}>[^<]{0,200}</summary>)?)"
    r"|(?P<comment><!--)"
    r"|[<◁](?P<body>[^<>◁▷\s][^<>◁▷\n]{0,200})[>▷]|&lt;(?P<escaped>/?\w[\w:-]{1,60})&gt;"
    r"|\[(?P<square>/?(?:THINK|THINKING|THOUGHTS?|REASONING|INST))\]|\[\|(?P<bars>/?\w[\w:-]{1,60})\|\]"
    r"|\A\s{0,20}(?P<starting>Thinking(?:\.{3}|…))[ \t]*$|^[ \t]*(?P<done>(?:\.{3}|…)done thinking\.?)"
    r"|(?P<harmony>assistantfinal|\Aanalysis(?=[A-Z]))"
    r"|(?P<granite>Here(?:'s|’s| is) my (?:thought process|response):)"
    r"|^(?P<turn>(?:Human|User|Observation)[ ]?:)"
)
_FINAL = r"<[|｜]?channel[|｜]?>\s{0,5}final\b[^<\n]{0,200}(?:<[|｜]message[|｜]>)?"
_CHANNEL_CLOSER = rf"<[|｜](?:end|return|call)[|｜]>|{_FINAL}|<channel[|｜]>"


class Mark(NamedTuple):
    """A mark in a reply.

    Attributes:
        kind: It opens or closes thoughts, ends the turn, or opens a program: in a tag, or in a fence.
        start: Its offset.
        end: The offset behind it.
        name: What kind of thoughts or tag; of a fence, its language in lower case.
        text: The mark itself; of a fence, its backticks or tildes.
    """

    kind: MarkKind
    start: int
    end: int
    name: str
    text: str


def is_thought_name(name: str) -> bool:
    """Return whether a tag, a fence or a block of this name holds what a model thinks."""
    return re.search(_THOUGHT, name.lower()) is not None


def find_mark(text: str, start: int = 0) -> Mark | None:
    """Return the first mark at or behind an offset."""
    for found in re.compile(_MARK).finditer(text, start):
        kind, name = _classify(found)
        if kind is not None:
            shown = found["fence"] or found[0]
            return Mark(kind, found.start(), found.end(), name, shown)
    return None


def _classify(found: re.Match[str]) -> tuple[MarkKind | None, str]:
    match found.lastgroup:
        case "language":
            line = found.string.rfind("\n", 0, found.start()) + 1
            # Tildes within a line strike words out.
            inside = found["fence"][0] == "~" and found.string[line : found.start()].strip()
            return (None if inside else "fence"), found["language"].lower()
        case "next":
            return None, "channel"
        case "channel":
            return ("close" if found["channel"].lower() == "final" else "open"), "channel"
        case "details":
            return ("open" if is_thought_name(found["details"]) else None), "details"
        case "comment":
            return "open", "comment"
        case "harmony":
            return ("close" if found["harmony"] == "assistantfinal" else "open"), "harmony"
        case "granite":
            return ("close" if "response" in found[0] else "open"), "granite"
        case "starting" | "done" as name:
            return ("open" if name == "starting" else "close"), "starting"
        case "turn":
            return "end", "turn"
    return _tag(found["body"] or found["escaped"] or found["square"] or found["bars"] or "")


def _tag(body: str) -> tuple[MarkKind | None, str]:
    body = body.strip("|｜ \t").lower().replace("▁", "_")
    if body.endswith("/"):
        return None, body
    closes, name = body.startswith("/"), body.lstrip("/").strip("|｜ \t")
    name = name.split(maxsplit=1)[0] if name else ""
    if re.fullmatch(_ENDS, body):
        return "end", body
    if name in ("unused94", "unused95"):  # the tokens of Gemma's family that have no name
        return ("open" if name == "unused94" else "close"), "unused"
    plain = re.sub(_STEP, "", name)
    if is_thought_name(plain):
        closes = closes or re.search(r"^(?:end|stop)(?:_|of)|_(?:end|stop)$|suffix$", name) is not None
        return ("close" if closes else "open"), re.sub(r"(?:prefix|suffix)$", "", plain)
    return ("program" if not closes and re.match(_PROGRAM, body) else None), name.partition("=")[0]


def end_of_thoughts(text: str, opening: Mark) -> int | None:
    """Return the offset behind the mark that closes thoughts; None where they go on to the end of the reply."""
    if opening.name == "channel":
        closer = re.compile(_CHANNEL_CLOSER).search(text, opening.end)
        return closer.end() if closer else None
    if opening.name in ("comment", "details"):
        mark = "-->" if opening.name == "comment" else "</details>"
        at = text.find(mark, opening.end)
        return None if at < 0 else at + len(mark)
    at = opening.end
    while (found := re.compile(_MARK).search(text, at)) is not None:
        # Fences say nothing here, and behind one, on its line, the thoughts may end.
        if found.lastgroup == "language":
            at = found.end("fence")
            continue
        kind, name = _classify(found)
        if kind == "close" and name == opening.name:
            return found.end()
        at = found.end()
    return None


_EDGE = (
    r"(?:<[|｜][^<>\n]{1,60}[|｜]>|</?s>|<(?:end_of_turn|start_of_turn|eos|bos|pad|end_code|end_action|turn\||unk)>|\[/?INST\]"
    r"|</?(?:answer|response|output|final|final_answer|solution|result)>)"
)


# Compiled for the first reply that needs it: that takes a twentieth of the time in which the whole package is imported.
@cache
def _edges() -> tuple[re.Pattern[str], re.Pattern[str]]:
    head = re.compile(rf"(?:\s*{_EDGE}[ \t]*(?:(?:assistant|model|python)\b)?)+|\s*`{{1,2}}(?:python3?|py)?[ \t]*\n")
    return head, re.compile(rf"(?:{_EDGE}\s*)+\Z|\n[ \t]*(?:`+|~+)\s*\Z|`{{3,}}\s*\Z")


def edges_off(text: str) -> list[str]:
    """Return a text without the marks of chat templates and the rests of fences at its edges, barer step by step."""
    steps = []
    leading, trailing = _edges()
    for _ in range(6):
        head = leading.match(text)
        # A search for the tail from every offset would be slow in a long text.
        offset = max(0, len(text) - 400)
        tail = trailing.search(text, offset)
        start, end = head.end() if head else 0, tail.start() if tail else len(text)
        shorter = text[start:end]
        # Beside the mark of thoughts there are thoughts.
        if shorter == text or is_thought_name(text[:start] + text[end:]):
            break
        steps.append(shorter)
        text = shorter
    return steps
