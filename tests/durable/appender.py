"""A process that appends to a run, and prints the number of each event once it is told that it was appended."""

import asyncio
import os
import sys
from pathlib import Path

from codemode_graph.calls.journal import Conflict, Journal
from codemode_graph.calls.log import Renewed
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal

__all__ = ["append_until", "open_journal"]


def open_journal(address: str) -> SQLiteJournal | PostgresJournal:
    return PostgresJournal(address) if address.startswith("postgres") else SQLiteJournal(Path(address))


async def append_until(journal: Journal, run: str, owner: str, length: int, report: bool = False) -> list[int]:
    """Append one event after the other, against others, until the run has so many. Return the numbers of one's own."""
    won: list[int] = []
    known = 0
    while known < length:
        try:
            await journal.append(run, known, [Renewed(owner=owner, until=known + 1.0)])
        except Conflict:
            known += len(await journal.read(run, known))
        else:
            known += 1
            won.append(known)
            if report:
                print(known, flush=True)
    return won


async def forked(address: str) -> None:
    """Append with a journal, fork in the middle of appends, and append in both processes."""
    journal = open_journal(address)
    loop = asyncio.get_running_loop()
    under_way = [loop.create_task(append_until(journal, f"other {number}", "parent", 20)) for number in range(8)]
    await append_until(journal, "run", "parent", 5)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            # The child has the parent's loop, which runs: it takes another thread with a loop of its own.
            import threading

            def work() -> None:
                nonlocal status
                asyncio.run(in_child(journal))
                status = 0

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        finally:
            os._exit(status)
    await append_until(journal, "run", "parent", 60)
    await asyncio.gather(*under_way)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert status == 0, status
    await journal.aclose()


async def in_child(journal: Journal) -> None:
    await append_until(journal, "run", "child", 60)
    await append_until(journal, "of the child", "child", 10)
    await journal.aclose()


if __name__ == "__main__":
    place, name = sys.argv[1:3]
    if name == "forked":
        asyncio.run(forked(place))
    else:
        asyncio.run(append_until(open_journal(place), "run", name, int(sys.argv[3]), report=True))
