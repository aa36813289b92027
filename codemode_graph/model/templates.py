"""The text files beside this module, filled in."""

from functools import cache
from importlib.resources import files
from string import Template

__all__ = ["render"]


@cache
def _template(name: str) -> Template:
    return Template(files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8"))


def render(name: str, **values: str) -> str:
    """Fill in the text file `name`. Every placeholder must be given; text inserted is not read for placeholders."""
    return _template(name).substitute(values).strip()
