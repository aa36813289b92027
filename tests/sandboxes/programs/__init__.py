"""Ordinary programs, of every kind that models write, with what they do."""

from tests.sandboxes.programs.case import Case
from tests.sandboxes.programs.concurrency import CONCURRENCY
from tests.sandboxes.programs.failures import FAILURES
from tests.sandboxes.programs.forms import FORMS
from tests.sandboxes.programs.language import LANGUAGE
from tests.sandboxes.programs.library import LIBRARY
from tests.sandboxes.programs.tools import TOOLS
from tests.sandboxes.programs.world import WORLD

__all__ = ["PROGRAMS", "Case"]

PROGRAMS: tuple[Case, ...] = (*FORMS, *TOOLS, *CONCURRENCY, *LANGUAGE, *LIBRARY, *FAILURES, *WORLD)
