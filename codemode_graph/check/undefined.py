"""Names that nothing defines."""

import builtins
import difflib
from collections.abc import Iterator

from codemode_sandboxes.source import Scope, Scopes

from codemode_graph.check.modules import instead_of
from codemode_graph.state import Finding
from codemode_graph.tools.text import one_line

__all__ = ["find_undefined_names"]

_KNOWN = frozenset(dir(builtins)) | {"tools", "__name__", "__file__"}
_LACKING = {"os": "os", "sys": "sys", "requests": "requests", "httpx": "httpx", "np": "numpy", "pd": "pandas"}
_DEFINERS = ("exec", "globals", "locals", "vars")
_MOST = 15


def find_undefined_names(scopes: Scopes) -> Iterator[Finding]:
    """Find names that are read but that neither Python nor the program defines; each is told once.

    A program that may define names in other ways, such as `exec`, has none.
    """
    if any(scope.star for scope in scopes.all()) or any(scopes.names(name) for name in _DEFINERS):
        return
    told: set[str] = set()
    for name in scopes.unresolved():
        if name.id in _KNOWN or name.id in told:
            continue
        told.add(name.id)
        yield Finding(rule="undefined-name", message=_message(scopes, name.id, scopes.scope(name)), line=name.lineno)


def _message(scopes: Scopes, name: str, scope: Scope) -> str:
    head = f"{one_line(name, 80)} is not defined"
    if name in _LACKING:
        return f"{head}, and the module {_LACKING[name]} does not exist here: {instead_of(_LACKING[name])}"
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
