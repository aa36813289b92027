"""The program in a model's reply."""

import builtins
import re
import sys

from codemode_sandboxes.source import Scopes

from codemode_graph.errors import ModelError
from codemode_graph.model.reply import Block, blocks_of

__all__ = ["extract_program"]

_KNOWN = frozenset(dir(builtins)) | {"tools"}
_DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class|import|from)[ \t]+(\w+)|^(\w+)[ \t]*=(?!=)", re.MULTILINE)
_LONGEST = 1_000_000


def extract_program(text: str) -> str:
    """Take the program out of a model's reply.

    It is the last block of code that needs no names but those of earlier blocks, joined with the blocks that define
    them; failing that, the longest block.

    Args:
        text: The reply: prose, fenced blocks, tags, JSON with the program under `code`, or the bare program.

    Returns:
        The program, its lines ended by a line feed. It need not be valid Python: a check says what is wrong with it.

    Raises:
        ModelError: The reply holds no program.
    """
    if len(text) > _LONGEST:
        raise ModelError(f"the model's reply has more than {_LONGEST:,} characters")
    blocks = blocks_of(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))
    acting = [block for block in blocks if block.acts or (block.tree is None and block.marked)]
    blocks = acting or [block for block in blocks if block.tree is not None] or blocks
    if not blocks:
        raise ModelError("the model's reply holds no Python program; it should hold one ```python block")
    for index in range(len(blocks) - 1, -1, -1):
        chosen, missing = _with_needed(blocks, index)
        if missing <= sys.stdlib_module_names:
            return "\n".join(block.code for block in chosen)
    return max(blocks, key=lambda block: len(block.code)).code


def _with_needed(blocks: list[Block], index: int) -> tuple[list[Block], set[str]]:
    """A block with those before it that define what it needs, the nearest first; and what none of them defines."""
    chosen = [blocks[index]]
    needed = _needed(blocks[index])
    for block in reversed(blocks[:index]):
        defined = _defined(block)
        if defined & needed:
            chosen.insert(0, block)
            needed = (needed - defined) | (_needed(block) - defined)
    return chosen, needed


def _needed(block: Block) -> set[str]:
    if block.tree is None:
        return set()
    return {name.id for name in Scopes(block.tree).unresolved()} - _KNOWN


def _defined(block: Block) -> set[str]:
    if block.tree is None:
        return {name for pair in _DEFINED.findall(block.code) for name in pair if name}
    return set(Scopes(block.tree).module.bound)
