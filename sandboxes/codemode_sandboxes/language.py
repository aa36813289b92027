"""Ordinary Python that a backend may lack: how to find it in a program, and what to write instead."""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["Gap"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A piece of ordinary Python that a backend does not run.

    Attributes:
        name: Short and stable, such as "generator functions".
        substitute: One line that tells what to write instead.
        find: Gives the nodes of a parsed program that use it.
    """

    name: str
    substitute: str
    find: Callable[[ast.AST], Iterable[ast.AST]]
