"""Writing ordinary Python that Monty does not run in terms of what it does run, where that is exactly the same.

A program's lines keep their numbers. What cannot be said exactly stays a gap: `remaining` narrows the gaps accordingly.
"""

from codemode_sandboxes.monty.lowering.lower import Lowered, lower, remaining

__all__ = ["Lowered", "lower", "remaining"]
