"""The site of mkdocs.yml: its first page is the README, and repository files that pages link to are copied into it."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# A link or picture whose target is neither an address nor a place on the same page.
_LINK = re.compile(r"(\[(?:[^\[\]]|\[[^\]]*\])*\])\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
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

    return _LINK.sub(replace, markdown)


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
