"""The sandbox of a program: the check chooses it, and from its first call on the program stays in it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from codemode_sandboxes import (
    Choice,
    FallbackSandbox,
    NoSandboxFits,
    PassedOver,
    Program,
    Sandbox,
    SandboxChoice,
    SandboxUnavailable,
)

from codemode_graph.events import PassedOverSandbox, SandboxEvent, emit, logger
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState, Finding

T = TypeVar("T")


async def choose(program: str, parts: Parts) -> Choice | Finding:
    """Choose the backend for a program that has passed the check; where none offers it all, say so.

    Raises:
        SandboxUnavailable: None is available.
    """
    if not isinstance(parts.sandbox, SandboxChoice):
        return Choice(sandbox=parts.sandbox)
    try:
        return await parts.sandbox.choose(Program(code=program))
    except NoSandboxFits as error:
        lacks = "; ".join(str(each) for each in error.passed_over if each.lacks)
        message = f"no one sandbox offers all that this program uses: {lacks}. Do without one of them"
        return Finding(rule="no-sandbox", message=message, line=None)


def tell(choice: Choice, parts: Parts) -> None:
    """Send the event that says where a program runs, where there was a choice; a fallback is a warning."""
    if not isinstance(parts.sandbox, SandboxChoice):
        return
    name, warning = choice.sandbox.name, None
    if isinstance(parts.sandbox, FallbackSandbox) and choice.passed_over:
        warning = f"{'; '.join(map(str, choice.passed_over))}. The program runs in {name} instead"
        logger.warning("%s", warning)
    _emit(name, choice.passed_over, warning)


async def why_not_others(program: str, parts: Parts) -> str:
    """Return which sandboxes that are not available here may offer what a program uses, and how to get them."""
    if not isinstance(parts.sandbox, SandboxChoice):
        return ""
    try:
        await parts.sandbox.choose(Program(code=program))
    except NoSandboxFits as error:
        _emit(None, error.passed_over)
        # A sandbox that lacks the syntax is no help, whether it is here or not.
        absent = [each for each in error.passed_over if not each.lacks]
        others = "; ".join(f"{each.name}: {each.remedy}" if each.remedy else each.name for each in absent)
        return f" (other sandboxes, not available here, may offer it: {others})" if others else ""
    return ""


async def on_backend(
    state: CodeModeState, parts: Parts, program: Program, run: Callable[[Sandbox], Awaitable[T]], *, bound: bool
) -> tuple[str, T]:
    """Run a program where it was chosen to run; where that does not start, and nothing has happened yet, elsewhere.

    Among several sandboxes it moves on the way from one that turns out to lack something, see `SandboxChoice.handover`.

    Args:
        state: Says where.
        parts: The graph's parts.
        program: What runs.
        run: Raises `SandboxUnavailable` only where nothing of the program has run.
        bound: The program has run there before. Another backend might make its calls in another order.

    Returns:
        The name of the backend in which it ended, and what `run` returned.

    Raises:
        SandboxUnavailable: There is no backend that may run it.
    """
    name, without = state["sandbox"], []
    while True:
        try:
            sandbox = parts.backend(name)
            if isinstance(parts.sandbox, SandboxChoice):
                sandbox = parts.sandbox.handover(sandbox, program, lambda choice: tell(choice, parts))
            run_of = await run(sandbox)
            return sandbox.name, run_of
        except SandboxUnavailable as missing:
            # What it has called is recorded in that sandbox's order of calls; elsewhere they may come in another, and
            # be made anew.
            if bound:
                reason = f"this run's program began there, and has to go on there, but {missing.reason}"
                raise SandboxUnavailable(name, reason, missing.remedy) from missing
            if not isinstance(parts.sandbox, SandboxChoice):
                raise
            parts.sandbox.note_missing(name, missing)
            without.append(name)
        choice = await parts.sandbox.choose(Program(code=state["program"]), without=without)
        tell(choice, parts)
        name = choice.sandbox.name


def _emit(name: str | None, passed_over: Sequence[PassedOver], warning: str | None = None) -> None:
    others = [
        PassedOverSandbox(name=each.name, lacks=list(each.lacks), reason=each.reason, remedy=each.remedy)
        for each in passed_over
    ]
    emit(SandboxEvent(type="sandbox", name=name, passed_over=others, warning=warning))
