"""Type-checking a program with Monty's own checker, without running it."""

import asyncio
import json
from typing import Any

from pydantic_monty import AsyncFunctionSnapshot, MontyCrashedError, MontyError, MontySyntaxError, MontyTypingError

from codemode_sandboxes.errors import SandboxError
from codemode_sandboxes.language import Diagnostic
from codemode_sandboxes.monty.pool import Pools

__all__ = ["type_check"]

# A first line that never type-checks: Monty refuses the program whatever else is in it, and so never runs it. It comes
# first because a `# type: ignore` for the whole file, or code that cannot be reached, would hide a later one.
_REFUSED = "__refused: int = ''\n"
_SECONDS = 5.0


async def type_check(pools: Pools, code: str, stubs: str) -> list[Diagnostic]:
    """Check a program in script form.

    Nothing of it runs: it is refused before that, and were it not, no answer would reach it.

    Args:
        pools: Where to find a worker.
        code: The program.
        stubs: Declarations of what it finds when it starts, as in a `.pyi` file.

    Returns:
        What the checker found, in the order of the program. Modules that the sandbox does not have are among it.

    Raises:
        SandboxUnavailable: There is no worker.
        SandboxError: The check took longer than 5 seconds, or the checker died of it.
    """
    source = _REFUSED + code.encode("utf-8", "replace").decode()
    session = await pools.checkout(
        type_check=True, type_check_stubs=stubs, type_check_format="json", limits={"max_feed_duration_secs": _SECONDS}
    )
    try:
        async with asyncio.timeout(_SECONDS):
            snapshot = await session.feed_start(source, print_callback=_ignore)
            while isinstance(snapshot, AsyncFunctionSnapshot) and snapshot.function_name == "import_stubs":
                snapshot = await snapshot.resume_not_handled()
    except MontyTypingError as error:
        return _diagnostics(error.display())
    except MontySyntaxError as error:
        return [Diagnostic("invalid-syntax", error.display("msg"), line=1, column=1)]
    except TimeoutError:
        raise SandboxError(f"the type check took longer than {_SECONDS:g} seconds") from None
    except MontyCrashedError:
        raise SandboxError("the type checker died of this program") from None
    except MontyError:
        pass
    finally:
        await asyncio.shield(asyncio.ensure_future(session.__aexit__(None, None, None)))
    raise SandboxError("this version of Monty ran a program that it should have refused")


def _ignore(stream: str, text: str) -> None:
    pass


def _diagnostics(report: str) -> list[Diagnostic]:
    found = [_diagnostic(entry) for entry in json.loads(report)]
    return [entry for entry in found if entry.line >= 1 and "__future__" not in entry.message]


def _diagnostic(entry: dict[str, Any]) -> Diagnostic:
    location = entry.get("location") or {}
    return Diagnostic(
        rule=str(entry["code"]),
        message=str(entry["message"]),
        line=int(location.get("row", 0)) - 1,
        column=int(location.get("column", 0)),
    )
