"""What is known about a program, and done to it, before anything runs."""

from codemode_graph.check.pipeline import Checked, check_program
from codemode_graph.check.types import TypeChecker

__all__ = ["Checked", "TypeChecker", "check_program"]
