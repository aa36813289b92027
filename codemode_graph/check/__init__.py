"""The check of a program before anything runs: fixes that are certain, and findings of what cannot work."""

from codemode_graph.check.pipeline import Checked, check_program
from codemode_graph.check.types import TypeChecker

__all__ = ["Checked", "TypeChecker", "check_program"]
