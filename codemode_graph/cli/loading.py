"""Tools named on the command line."""

import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codemode_graph.errors import ConfigurationError

__all__ = ["load_from_module"]


def load_from_module(reference: str) -> list[Any]:
    """Import what `module:name` names: a function, a tool, or a list or dict of them.

    The current directory is importable, as it is for `python -m`.

    Raises:
        ConfigurationError: The module cannot be imported or has no such name; says which.
    """
    module_name, _, name = reference.partition(":")
    if not name:
        raise ConfigurationError(f"--tools takes MODULE:NAME, such as mytools:TOOLS, not {reference!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigurationError(f"--tools {reference}: importing {module_name!r} failed: {error}") from error
    try:
        found = getattr(module, name)
    except AttributeError:
        public = ", ".join(n for n in vars(module) if not n.startswith("_"))
        raise ConfigurationError(f"--tools {reference}: {module_name!r} has no {name!r}; it has {public}") from None
    if isinstance(found, Mapping):
        raise ConfigurationError(f"--tools {reference}: give a function, a tool or a list of them, not a dict")
    return list(found) if isinstance(found, Iterable) and not callable(found) else [found]
