"""The site of mkdocs.yml.

Its first page is the README, and repository files that pages link to are copied into it. A line `<!-- table: NAME -->`
becomes a table that is made from the code: `python docs/hooks.py` prints all of them.
"""

import posixpath
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import griffe
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from codemode_graph.cli.app import app
from codemode_graph.settings import Context

ROOT = Path(__file__).parents[1]
# A link or picture whose target is neither an address nor a place on the same page.
_LINK = re.compile(r"(\[(?:[^\[\]]|\[[^\]]*\])*\])\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_TABLE = re.compile(r"^<!-- table: (\S+) -->$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, and all files outside of docs/ that pages link to, directly or through one another."""
    waiting = ["README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            for link in _LINK.finditer(_FENCE.sub("", (ROOT / path).read_text())):
                linked = target(path, link[2])
                if (ROOT / linked).is_file() and not linked.startswith("docs/") and linked not in seen:
                    seen.add(linked)
                    waiting.append(linked)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page to where their files are in the site. A folder has no page: its link becomes its text."""
    source = repository_path(page.file.src_uri)

    def replace(link: re.Match[str]) -> str:
        linked = target(source, link[2])
        if (ROOT / linked).is_dir():
            return link[1][1:-1]
        if source.startswith("benchmarks/results/") and not (ROOT / linked).exists():
            return link[0].replace("](", "]\\(")  # a program that a model wrote, not a link
        relative = posixpath.relpath(site_path(linked), posixpath.dirname(page.file.src_uri) or ".")
        return f"{link[1]}({relative}{link[3] or ''})"

    text = _LINK.sub(replace, markdown)
    return _TABLE.sub(lambda place: tables()[place[1]], text)


def target(source: str, link: str) -> str:
    """Return the path in the repository that a link in `source` leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def site_path(path: str) -> str:
    """Return the place of a repository file among the site's sources."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"


def repository_path(uri: str) -> str:
    """Return the repository file of a place among the site's sources: `site_path` the other way round."""
    if uri == "index.md":
        return "README.md"
    return uri.removeprefix("repository/") if uri.startswith("repository/") else f"docs/{uri}"


@cache
def tables() -> dict[str, str]:
    """Return the tables, by their names."""
    loader = griffe.GriffeLoader(search_paths=[ROOT, ROOT / "sandboxes"], docstring_parser=griffe.Parser.google)
    options = loader.load("codemode_graph.options")
    return {
        "run-options": _typed_dict(options["RunOptions"]),
        "codemode-options": _typed_dict(options["CodeModeOptions"], without=options["RunOptions"]),
        "context": _table(
            ("name", "meaning", "default"),
            (
                (f"`{name}`", field.description or "", f"`{field.default}`")
                for name, field in Context.model_fields.items()
            ),
        ),
        "limits": _dataclass(loader.load("codemode_sandboxes.contract")["Limits"]),
        "policy": _dataclass(loader.load("codemode_graph.tools.spec")["ToolPolicy"]),
        "commands": "\n\n".join(_commands(typer.main.get_command(app))),
    }


def _typed_dict(cls: Any, without: Any = None) -> str:
    """List the keys of a TypedDict, without those of another."""
    left_out = without.members if without else {}
    members = [part for name, part in cls.attributes.items() if name not in left_out and part.docstring]
    rows = ((f"`{member.name}`", member.docstring.value, f"`{member.annotation}`") for member in members)
    return _table(("name", "meaning", "type"), rows)


def _dataclass(cls: Any) -> str:
    """List the fields that the docstring of a dataclass describes, each with its default."""
    (section,) = (part for part in cls.docstring.parsed if part.kind.value == "attributes")
    rows = ((f"`{item.name}`", item.description, f"`{cls.attributes[item.name].value}`") for item in section.value)
    return _table(("name", "meaning", "default"), rows)


def _commands(command: Any, words: tuple[str, ...] = ("codemode-graph",)) -> Iterator[str]:
    """List the options of a command, and of those below it."""
    shown = [part for part in command.params if not part.hidden]
    if shown:
        yield f"### `{' '.join(words)}`"
        yield _table(("option", "meaning", "default"), map(_parameter, shown))
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, (*words, name))


def _parameter(part: Any) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in [*part.opts, *part.secondary_opts])
    value = "" if getattr(part, "is_flag", False) or not part.metavar else f" `{part.metavar}`"
    default = part.default if isinstance(part.show_default, bool) else part.show_default
    shown = "" if default in (None, False, "", [], ()) else f"`{default}`"
    return names + value, part.help or "", shown


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |" for row in lines
    )


if __name__ == "__main__":
    for name, table in tables().items():
        sys.stdout.write(f"{name}\n\n{table}\n\n")
