"""Ordinary Python that a backend may lack: how to find it in a program, and what to write instead."""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from codemode_sandboxes.source.tree import Tree

__all__ = ["Diagnostic", "Gap"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A piece of ordinary Python that a backend does not run.

    Attributes:
        name: Short and stable, such as "generator functions".
        substitute: One line that tells what to write instead.
        find: Gives the nodes of a parsed program that use it. It may overlook some, but what it gives will fail.
        probe: A program whose value is True where the backend does run it; empty where that is found out otherwise.
        rare: Whether so little of it is left that a model need not be told of it beforehand.
    """

    name: str
    substitute: str
    find: Callable[[Tree], Iterable[ast.AST]]
    probe: str = ""
    rare: bool = False


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What a type checker has to say about a place in a program.

    Attributes:
        rule: The rule's name, such as "invalid-argument-type".
        message: One line.
        line: Counted from 1.
        column: Counted from 1.
    """

    rule: str
    message: str
    line: int
    column: int
