"""The message that asks for a repaired program: what ran, how it ended, and which effects must not be repeated."""

import difflib
import re
from collections.abc import Iterator, Sequence
from textwrap import indent
from typing import Any

from codemode_sandboxes.source import is_same_program

from codemode_graph.calls.view import newest, standing_effects
from codemode_graph.model.system import render, request_message
from codemode_graph.preview import sample, shape
from codemode_graph.redact import redact
from codemode_graph.state import Attempt, CodeModeState, Failure, Finding, ToolCall

# A repair message competes with the task for the model's attention; of many calls the newest tell most.
_MAX_TOOLS = 8
_MAX_EFFECTS = 30
# A repair message stays in the context of all later ones, and what it quotes may be megabytes.
_PROGRAM_CHARS = 20_000
_MESSAGE_CHARS = 2_000
_LEFT_OVER = "it was done by an earlier program, and your last program neither made it nor undid it"

STRATEGIES = {
    "check": (
        "Nothing of the program has run. Write the whole program again with every point above put right. "
        "What one tool does not return, another may."
    ),
    "missing": (
        "Give the whole program now, from `async def main():` to its `return`. A comment or a plan is not a program."
    ),
    "cut-off": (
        "Think less before you write, and write a shorter program: use loops and functions, and no long comments or data. "
        "Give the whole program, from `async def main():` to its `return`."
    ),
    "refusal": (
        "If a program can do the task with these tools, give it now. If none can, say in one sentence why: that ends the work."
    ),
    "tool-calls": (
        "You cannot call the tools yourself: a program does. Write the calls into `async def main():` as "
        "`await tools['name'](argument=value)`, and give the whole program as text."
    ),
    "unchanged": (
        "You have written the same program twice, and it cannot work, so it is not shown here again. Write a different "
        "one: do the step that failed in another way, and go by what is said above."
    ),
    "looked": (
        "You have seen what `search_tools` finds, and the cards of those tools are among your tools now or stand above. Write "
        "the program for the task."
    ),
    "error": "Find the line that failed, write the whole program again with it put right, and keep what was right.",
    "late": (
        "It did not end in time. Write the whole program again so that it does: end every loop, make calls that do not "
        "depend on each other together, and ask for less of what is slow."
    ),
    "returns": (
        "Write the whole program again so that its value has the type that is asked for: take the fields that it names out "
        "of what the tools return, convert numbers and texts, and leave out the rest. Keep the calls as they are."
    ),
    "empty": (
        "Write the whole program again so that it returns the data. Most often a wrong key, a filter that nothing "
        "passes, or a missing `return` is the cause: compare your program with what the tools returned. "
        "If nothing really is the right answer, return it as before."
    ),
    "again": (
        "The same failure came twice, so the same fix will not help. Do it in a different way: take smaller steps, use "
        "other tools or other arguments, do not use the construct that failed, and check what a value is before you "
        "use it."
    ),
}


def repair_message(
    state: CodeModeState, *, returns: str | None = None, seen: Sequence[str] = (), found: str = ""
) -> str:
    """Return the message that describes the last attempt to the model that has to repair it.

    Args:
        state: Its last attempt has a failure, findings, or an empty output.
        returns: The type of the answer, as a model reads it; None where none is asked for.
        seen: Lines on what calls of its tools returned; see `Catalogue.news`.
        found: Cards of tools beside those that the run began with.

    Returns:
        The user message.
    """
    attempts = state["attempts"]
    strategy = _strategy(attempts)
    # A model copies the program that it sees: a repeated one is left out, and its first failure is described again.
    attempt = _first_like(attempts) if strategy == "unchanged" else _last_written(attempts)
    shown = [] if strategy == "unchanged" else _quoted(attempt)
    unwritten = _problem(attempts[-1]) + "\n\n" if attempt is not attempts[-1] and strategy != "unchanged" else ""
    ids = set(attempt["calls"])
    calls = [call for call in state["tool_calls"] if call["id"] in ids]
    message = render(
        "repair",
        task=request_message(state["task"], returns),
        program=_section("Your previous program", shown),
        problem=unwritten + _problem(attempt) + _hint(attempt["failure"], calls),
        returned=_section("What the tools returned", _returned(calls)),
        seen=_section("What earlier calls returned", [_cut(line) for line in seen]),
        found=_section("More tools", [found] if found else []),
        happened=_section("What has already happened", _happened(state["tool_calls"], state.get("left_over", ()))),
        strategy=STRATEGIES[strategy],
    )
    # The same words bring the same answer.
    if any(prompt["request"] == message for prompt in state.get("prompts", [])):
        number = len(attempts) + 1
        message += (
            f"\n\nYou have read this before, and your answer did not help. Attempt {number}: begin in another way."
        )
    return message


def is_unchanged(attempts: Sequence[Attempt]) -> bool:
    """Return whether the last program is one that was written before."""
    *before, last = attempts
    return any(is_same_program(attempt["program"], last["program"]) for attempt in before)


def _first_like(attempts: Sequence[Attempt]) -> Attempt:
    """Return the first attempt with the newest program: only that one was checked or run."""
    return next(attempt for attempt in attempts if is_same_program(attempt["program"], attempts[-1]["program"]))


def _last_written(attempts: Sequence[Attempt]) -> Attempt:
    """Return the last attempt that has a program: an answer without one leaves it the program to repair."""
    return next((attempt for attempt in reversed(attempts) if _is_written(attempt)), attempts[-1])


def _is_written(attempt: Attempt) -> bool:
    return bool(attempt["program"].strip()) and not any(f["rule"] == "no-program" for f in attempt["findings"])


def _quoted(attempt: Attempt) -> list[str]:
    """Return the lines that quote an attempt's program: a part of a long one, nothing where there is none."""
    if not _is_written(attempt):
        return []
    text = _as_written(attempt["program"])
    half, more = _PROGRAM_CHARS // 2, len(text) - _PROGRAM_CHARS
    if more > 0:
        text = f"{text[:half]}\n# … {more:,} more characters …\n{text[-half:]}"
    # A fence in the program must not end the one around it.
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`{3,}", text)), default=0))
    return [f"{fence}python", text, fence]


def _cut(text: str) -> str:
    """Return a text as a model's provider may read it: not too long, and without what looks like a credential."""
    return redact(text, limit=_MESSAGE_CHARS)


def _sample(value: Any, *, limit: int = 600) -> str:
    return redact(sample(value, limit=limit))


def _as_written(program: str) -> str:
    """Return a program without the call of `main` that the check appends: the prompt says not to write it."""
    return program.strip().removesuffix("\nawait main()").rstrip()


# The words of CPython and of Monty for an `await` of something else than a call.
_NOT_AWAITED = ("can't be used in 'await'", "can't be awaited", "an awaitable is required")


def _hint(failure: Failure | None, calls: Sequence[ToolCall]) -> str:
    """Return what the tools returned in place of a key that the program did not find."""
    if failure is None:
        return ""
    if failure["type"] == "TypeError" and failure["message"].startswith("string indices must be integers"):
        return "; what is indexed there is a text, not a dict: where it is an id, a tool may look up what belongs to it"
    if failure["type"] == "TypeError" and any(words in failure["message"] for words in _NOT_AWAITED):
        return "; only a call is awaited: write `await tools['name'](argument=value)`, also where the tool is in a variable"
    found = find_key(failure["message"].strip("'\""), calls) if failure["type"] == "KeyError" else []
    return _cut(f"; there is {', and '.join(found)}") if found else ""


def _section(title: str, lines: Sequence[str]) -> str:
    return f"# {title}\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def _problem(attempt: Attempt) -> str:
    if attempt["findings"]:
        found = [f"- {_finding(f, attempt['program'])}" for f in attempt["findings"]]
        if not attempt["program"].strip():
            return "Your last answer could not be run:\n\n" + "\n".join(found)
        return "It was checked and did not run:\n\n" + "\n".join(found)
    if attempt["failure"] is not None and attempt["failure"]["kind"] == "returns":
        value = f"{shape(attempt['output'])[:_MESSAGE_CHARS]}, for example {_sample(attempt['output'])}"
        return f"It ran, and its value was {value}.\n\n{_cut(attempt['failure']['message'])}"
    if attempt["failure"] is not None:
        return _failure(attempt["failure"], attempt["program"])
    printed = f" It printed:\n\n{_cut(attempt['stdout'][:800].strip())}" if attempt["stdout"].strip() else ""
    if attempt["verdict"] == "looked":
        return f"It ran, and did nothing but look for tools.{printed}"
    return f"It ran, and its tools returned data, but its value was {_cut(repr(attempt['output']))}.{printed}"


def _failure(failure: Failure, program: str) -> str:
    return f"{_at(failure['line'], program)}{failure['type']}: {_cut(failure['message'])}"


def _finding(finding: Finding, program: str) -> str:
    message = _cut(finding["message"])
    if "excerpt" not in finding:
        return _at(finding["line"], program) + message
    # The message of a syntax error has the line already.
    return f"Line {finding['line']}: {message}\n\n" + indent(finding["excerpt"], "      ")


def _at(line: int | None, program: str) -> str:
    lines = program.splitlines()
    if line is None or not 0 < line <= len(lines):
        return ""
    return f"Line {line}, `{lines[line - 1].strip()[:160]}`: "


def _returned(calls: Sequence[ToolCall]) -> list[str]:
    # One example a tool is enough to see the shape of what it returns.
    done = [call for call in calls if call["status"] == "done"]
    latest = {call["tool"]: call for call in done if call["error"] is None}
    unusable = {call["tool"]: call["error"] for call in done if call["error"] is not None}
    failed = [call for call in newest(calls) if call["status"] == "failed" and call["error"] is not None]
    lines = [
        f"- tools[{name!r}] returned {shape(call['value'])[:_MESSAGE_CHARS]}, for example {_sample(call['value'])}"
        for name, call in list(latest.items())[:_MAX_TOOLS]
    ]
    lines += [f"- tools[{name!r}]: {_cut(error['message'])}" for name, error in list(unusable.items())[:_MAX_TOOLS]]
    lines += [
        f"- tools[{call['tool']!r}] with {_sample(call['arguments'], limit=200)} raised "
        f"{call['error']['type']}: {_cut(call['error']['message'])[:300]}"
        for call in failed[-_MAX_TOOLS:]
        if call["error"] is not None
    ]
    return lines


def _happened(calls: Sequence[ToolCall], left_over: Sequence[str]) -> list[str]:
    effects = standing_effects(calls)
    if not effects:
        return []
    lines = [
        f"- tools[{call['tool']!r}] with {_sample(call['arguments'], limit=200)}: {_outcome(call)}"
        + (f"; {_LEFT_OVER}" if call["id"] in left_over else "")
        for call in effects[-_MAX_EFFECTS:]
    ]
    if len(effects) > _MAX_EFFECTS:
        lines.insert(0, f"- {len(effects) - _MAX_EFFECTS} earlier calls")
    return [
        *lines,
        "",
        "Keep these calls in your program, with exactly the same arguments: the recorded result is returned and nothing "
        "happens twice. Do not undo them, and do not make them with other arguments to try again.",
    ]


def _outcome(call: ToolCall) -> str:
    if call["status"] == "done":
        return "done"
    if call["effect"] == "idempotent" or "idempotency_key" in call:
        return "cut off; calling it again is safe"
    return "cut off; it may have taken effect, do not call it again"


def _strategy(attempts: Sequence[Attempt]) -> str:
    last, previous = attempts[-1], attempts[-2] if len(attempts) > 1 else None
    rules = [finding["rule"] for finding in last["findings"]]
    if last["verdict"] == "looked":
        return "looked"
    if rules and rules[0] in ("cut-off", "refusal", "tool-calls"):
        return rules[0]
    if rules and rules[0] in ("no-program", "rejected", "several-blocks"):
        return "missing"
    if is_unchanged(attempts):
        return "unchanged"
    if previous is not None and _signature(last) == _signature(previous):
        return "again"
    if last["findings"]:
        return "check"
    if last["failure"] is None:
        return "empty"
    return {"timeout": "late", "returns": "returns"}.get(last["failure"]["kind"], "error")


def _signature(attempt: Attempt) -> tuple[object, ...]:
    if attempt["findings"]:
        return ("check", *sorted((f["rule"], f["message"]) for f in attempt["findings"]))
    failure = attempt["failure"]
    return (failure["type"], failure["message"]) if failure is not None else ("empty",)


_MOST = 3
# A value may be megabytes; the keys of interest are near its top, which is visited first.
_VISITED = 5000


def find_key(key: str, calls: Sequence[ToolCall]) -> list[str]:
    """Find a key, or else the ones that are spelled most like it, in the values of calls.

    Args:
        key: As the program spells it.
        calls: The calls of the program.

    Returns:
        Places such as `['places'][0]['pieces'] in what tools['stock'] returned`, at most three, the outermost first.
    """
    places: dict[str, list[tuple[int, str]]] = {}
    for call in calls:
        if call["status"] == "done":
            for name, depth, path in _keys(call["value"]):
                places.setdefault(name, []).append((depth, f"{path} in what tools[{call['tool']!r}] returned"))
    names = [key] if key in places else difflib.get_close_matches(key, places, _MOST, cutoff=0.6)
    found = sorted((place for name in names for place in places[name]), key=lambda place: place[0])
    return list(dict.fromkeys(path for _, path in found))[:_MOST]


def _keys(value: Any) -> Iterator[tuple[str, int, str]]:
    """Yield each key in a value, its depth, and the path to it; the first item of a list stands for all."""
    queue = [(value, 0, "")]
    for _ in range(_VISITED):
        if not queue:
            return
        item, depth, path = queue.pop(0)
        if isinstance(item, list) and item:
            queue.append((item[0], depth + 1, f"{path}[0]"))
        elif isinstance(item, dict):
            for name, inner in list(item.items())[:_VISITED]:
                yield name, depth, f"{path}[{name!r}]"
                queue.append((inner, depth + 1, f"{path}[{name!r}]"))
