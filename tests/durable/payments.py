"""Tools for the command line whose effects are lines in a file, in the folder that PAYMENTS names.

`pay` kills its process after the effect, and `look` before its answer, as often as the file `deaths` there says.
"""

import os
import signal
from pathlib import Path

from codemode_graph.tools import tool


def folder() -> Path:
    return Path(os.environ["PAYMENTS"])


def die(name: str) -> None:
    """Have the process killed where the file `deaths` has the name, and take it out."""
    deaths = folder() / "deaths"
    names = deaths.read_text().split() if deaths.exists() else []
    if name in names:
        names.remove(name)
        deaths.write_text(" ".join(names))
        os.kill(os.getpid(), signal.SIGKILL)


def note(line: str) -> None:
    with (folder() / "ledger").open("a") as file:
        file.write(f"{line}\n")


@tool(effect="read")
def look(account: str) -> int:
    """Look up a balance."""
    die("look")
    return 100


def pay(account: str, amount: int) -> str:
    """Pay from an account."""
    note(f"pay {account} {amount}")
    die("pay")
    return f"paid {amount}"


@tool(effect="write")
def charge(account: str) -> str:
    """Charge an account, and say nothing of it."""
    note(f"charge {account}")
    raise ValueError("no such account")


TOOLS = [look, pay, charge]
