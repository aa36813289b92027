"""What sandboxes have in common whose guests' memory is settled when they start."""

from codemode_sandboxes.contract import Limits
from codemode_sandboxes.process.pool import GuestPool, S
from codemode_sandboxes.process.probe import ProbedSandbox

__all__ = ["SizedSandbox"]

_REFILL_SECONDS = 0.1  # the run that took the spare has the processor first


class SizedSandbox(ProbedSandbox[S]):
    """Has guests of one size ready, the newest run's: a run of another size gets a pool of its own size.

    Args:
        spares: Guests kept ready.
    """

    def __init__(self, spares: int) -> None:
        self._spares, self._memory_bytes = spares, Limits().memory_bytes
        super().__init__(self._new_pool(spares))

    def _starter(self, memory_bytes: int) -> S:
        """Make what starts guests that have this much memory at most."""
        raise NotImplementedError

    def _new_pool(self, spares: int) -> GuestPool[S]:
        memory_bytes = self._memory_bytes
        return GuestPool(lambda: self._starter(memory_bytes), spares, refill_after=_REFILL_SECONDS)

    def _guests(self, limits: Limits) -> GuestPool[S]:
        with self._lock:
            if limits.memory_bytes != self._memory_bytes:
                self._memory_bytes, old = limits.memory_bytes, self._pool
                self._pool = self._new_pool(self._spares)
                old.close()
            return self._pool
