"""Monty's Python beside CPython's: what the installed version does not run, and what programs are rewritten to instead."""

from codemode_sandboxes.monty.dialect.lower import Lowered, lower
from codemode_sandboxes.monty.dialect.nans import refuses, uses_nan
from codemode_sandboxes.monty.dialect.probe import Findings, aprobe, probe

__all__ = ["Findings", "Lowered", "aprobe", "lower", "probe", "refuses", "uses_nan"]
