"""Ordinary Python that Monty may not run. Which of it the installed version really does not run, `probe` finds out."""

from codemode_sandboxes.monty.gaps.idioms import IDIOMS
from codemode_sandboxes.monty.gaps.library import candidate_names, library_gaps
from codemode_sandboxes.monty.gaps.objects import BUILTINS, METHOD_OWNERS, SPECIAL_METHODS, object_gaps
from codemode_sandboxes.monty.gaps.syntax import SYNTAX

__all__ = [
    "BUILTINS",
    "IDIOMS",
    "METHOD_OWNERS",
    "SPECIAL_METHODS",
    "SYNTAX",
    "candidate_names",
    "library_gaps",
    "object_gaps",
]
