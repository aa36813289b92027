"""Whether two programs are one."""

import ast

from codemode_sandboxes.source import parse

__all__ = ["is_same_program"]


def is_same_program(one: str, other: str) -> bool:
    """Whether two programs differ in nothing but comments, white space and the like; texts that do not parse, in nothing."""
    if one == other:
        return True
    try:
        return ast.dump(parse(one)) == ast.dump(parse(other))
    except SyntaxError:
        return False
