"""The page in a real browser: it shows, it fits, and hostile text does nothing in it."""

import html
import re
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path

import nbformat
import pytest
from jinja2 import ChoiceLoader, DictLoader
from nbconvert import HTMLExporter

from codemode_graph.trace.html import environment
from tests.trace.browser import CHROMIUM, Site, dump, print_to_pdf, screenshot, site
from tests.trace.runs import eventful, hostile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
]

WAYS_OUT = """
<script>document.title='pwned'; fetch('/hit/script')</script>
<img src="/hit/image" onerror="document.title='pwned'">
<svg onload="document.title='pwned'"></svg>
<style>@import '/hit/import'; body{background:url(/hit/style)}</style>
<link rel="stylesheet" href="/hit/link"><link rel="prefetch" href="/hit/prefetch">
<iframe src="/hit/frame"></iframe><object data="/hit/object"></object><video src="/hit/video"></video>
<input autofocus onfocus="document.title='pwned'"><details open ontoggle="document.title='pwned'">x</details>
"""
MEASURE = """<!doctype html><title>measuring</title><iframe style="width:{width}px;height:900px;border:0" src="{path}"></iframe>
<script>onload = () => {{
  const root = document.querySelector('iframe').contentDocument.documentElement;
  root.querySelectorAll('details').forEach(each => each.open = {opened});
  document.title = [root.scrollWidth, root.clientWidth, root.scrollHeight].join(' ');
}}</script>"""


# Where each element of the run stands, in one page and in another.
COMPARE = """<!doctype html><title>comparing</title>
<iframe style="width:1200px;height:900px;border:0" src="/one"></iframe>
<iframe style="width:1200px;height:900px;border:0" src="/other"></iframe>
<script>onload = () => {
  const [one, other] = [...document.querySelectorAll('iframe')].map(frame => {
    const run = frame.contentDocument.querySelector('.codemode-run');
    run.querySelectorAll('details').forEach(each => each.open = true);
    const origin = run.getBoundingClientRect();
    return [...run.querySelectorAll('*')].map(each => {
      const box = each.getBoundingClientRect();
      const style = frame.contentWindow.getComputedStyle(each);
      return [each.tagName, each.className, box.x - origin.x, box.y - origin.y, box.width, box.height, style.color,
        style.fontSize, style.fontFamily, style.backgroundColor, each.textContent].join(' ');
    });
  });
  const wrong = one.findIndex((each, place) => each !== other[place]);
  document.title = wrong < 0 && one.length === other.length ? `same ${one.length}` : `${one[wrong]} / ${other[wrong]}`;
}</script>"""
# All that a page shows, where its style for paper holds for the screen, too.
ON_PAPER = """<!doctype html><title>printing</title><iframe style="width:700px;height:900px;border:0" src="/paper"></iframe>
<script>onload = () => {
  const page = document.querySelector('iframe').contentDocument;
  const root = page.documentElement;
  const cut = [...page.querySelectorAll('pre, .name, .chip, .effect, td')].filter(each => each.textContent.trim() && (
    each.offsetHeight === 0 || each.scrollWidth > each.clientWidth + 1 || each.scrollHeight > each.clientHeight + 1));
  const names = cut.map(each => [each.tagName, each.className, each.textContent.slice(0, 40)].join('.'));
  document.title = `${root.scrollWidth === 700} ${cut.length} ${names.slice(0, 5)}`;
}</script>"""


# JupyterLab's rules for outputs that are HTML, with colours in place of its variables, and the rule for `dt` of its themes.
NOTEBOOK = """
.jp-RenderedHTMLCommon { color: teal; font-size: 14px; line-height: 1.6; }
.jp-RenderedHTMLCommon dt { font-weight: bold; float: left; clear: left; width: 20px; }
.jp-RenderedHTMLCommon h1, .jp-RenderedHTMLCommon h2 { line-height: 1; font-weight: 700; margin: 1.2em 0 0.8em; }
.jp-RenderedHTMLCommon h2:first-child { margin-top: 0.6em; }
.jp-RenderedHTMLCommon ul:not(.list-inline) { padding-left: 2em; }
.jp-ThemedContainer .jp-RenderedHTMLCommon pre, .jp-ThemedContainer .jp-RenderedHTMLCommon code {
  border: 0; background-color: silver; color: teal; font-family: serif; font-size: inherit; line-height: 1.3; padding: 0; white-space: pre-wrap; }
.jp-RenderedHTMLCommon table { table-layout: fixed; margin-left: auto; margin-bottom: 1em; margin-right: auto; font-size: 12px; }
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th, .jp-RenderedHTMLCommon tr {
  vertical-align: middle; padding: 0.5em; line-height: normal; white-space: normal; max-width: none; border: none; }
.jp-RenderedHTMLCommon tbody tr:nth-child(even) { background: silver; }
.jp-RenderedHTMLCommon p { text-align: left; margin: 0 0 1em; }
.jp-RenderedHTMLCommon blockquote { margin: 1em 2em; padding: 0 1em; border-left: 5px solid silver; }
"""


@pytest.fixture(scope="module")
def served() -> Iterator[Site]:
    with site() as found:
        yield found


def title(page: str) -> str:
    found = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
    assert found is not None
    return found[1]


def test_hostile_text_does_nothing(served: Site) -> None:
    served.pages["/hostile"] = hostile(WAYS_OUT).html()
    before = title(served.pages["/hostile"])
    served.asked.clear()
    after = dump(f"{served.url}/hostile")
    assert html.unescape(title(after)) == html.unescape(before)
    assert "Attempt 2" in after
    assert [path for path in served.asked if path.startswith("/hit")] == []


def test_markup_that_got_through_would_do_nothing_either(served: Site) -> None:
    loader = environment().loader
    assert loader is not None
    through = environment().overlay(loader=ChoiceLoader([DictLoader({"run.html": WAYS_OUT}), loader]))
    served.pages["/through"] = through.get_template("page.html").render(title="safe")
    served.pages["/open"] = f"<title>safe</title>{WAYS_OUT}"
    served.asked.clear()
    assert title(dump(f"{served.url}/through")) == "safe · codemode-graph"
    assert [path for path in served.asked if path.startswith("/hit")] == []
    # The same markup on a page that allows it: what is looked for above would be seen.
    assert title(dump(f"{served.url}/open")) == "pwned"
    assert {"/hit/script", "/hit/image", "/hit/frame"} <= set(served.asked)


@pytest.mark.parametrize("width", [400, 1400])
async def test_it_fits(width: int, served: Site) -> None:
    long = "x" * 3_000
    served.pages["/long"] = hostile(long).html()
    served.pages["/run"] = (await eventful())[1].html()
    for path in ("/run", "/long"):
        for opened in ("false", "true"):
            served.pages["/measure"] = MEASURE.format(width=width, path=path, opened=opened)
            wide, room, high = map(int, title(dump(f"{served.url}/measure")).split())
            assert wide == room == width
            assert high > 900


@pytest.mark.parametrize("width", [500, 1400])  # Chromium's windows are no narrower
async def test_it_can_be_seen(width: int, served: Site, tmp_path: Path) -> None:
    served.pages["/run"] = (await eventful())[1].html()
    served.pages["/blank"] = served.pages["/run"].partition("<article")[0]
    seen = screenshot(f"{served.url}/run", tmp_path / "run.png", width=width, height=1000)
    blank = screenshot(f"{served.url}/blank", tmp_path / "blank.png", width=width, height=1000)
    assert seen[16:24] == width.to_bytes(4) + (1000).to_bytes(4)
    assert len(seen) > 10 * len(blank)


async def test_it_looks_the_same_in_a_notebook(served: Site, tmp_path: Path) -> None:
    piece = (await eventful())[1]._repr_html_()
    output = f'<div class="jp-RenderedHTMLCommon jp-RenderedHTML">{piece}</div>'
    for name, style in (("plain", ""), ("notebook", NOTEBOOK)):
        head = f"<!doctype html><meta charset=utf-8><style>{style}</style>"
        served.pages[f"/{name}"] = f'{head}<body class="jp-ThemedContainer" data-jp-theme-light="true">{output}</body>'
    seen = [
        screenshot(f"{served.url}/{name}", tmp_path / f"{name}.png", width=1000, height=1800)
        for name in ("plain", "notebook")
    ]
    assert seen[0] == seen[1]


def jupyter_folder() -> str:
    """Return where nbconvert has its templates. It looks below the prefix, where not all installers put them."""
    template = next(file for file in files("nbconvert") or () if file.match("templates/lab/index.html.j2"))
    return str(Path(str(template.locate())).resolve().parents[3])


def notebook(piece: str) -> str:
    """Return the page that nbconvert makes of a notebook with this output: it has JupyterLab's own style."""
    output = {"output_type": "execute_result", "data": {"text/html": piece}, "metadata": {}, "execution_count": 1}
    cell = {"cell_type": "code", "source": "trace", "outputs": [output], "metadata": {}, "execution_count": 1}
    node = nbformat.from_dict(
        {"cells": [cell], "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 4}
    )  # type: ignore[no-untyped-call]
    page, _ = HTMLExporter(template_name="lab").from_notebook_node(node)  # type: ignore[no-untyped-call]
    # Scripts of other hosts, for formulas, are not to be waited for.
    return re.sub(r'<script[^>]*src="https?:[^"]*"[^>]*></script>', "", page)


async def test_it_looks_the_same_through_nbconvert(
    served: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = f'<div style="width:1000px">{(await eventful())[1]._repr_html_()}</div>'
    monkeypatch.setenv("JUPYTER_PATH", jupyter_folder())
    served.pages["/one"] = f'<!doctype html><meta charset=utf-8><body data-jp-theme-light="true">{piece}</body>'
    served.pages["/other"] = notebook(piece)
    served.pages["/compare"] = COMPARE
    compared = title(dump(f"{served.url}/compare"))
    assert compared.startswith("same "), html.unescape(compared)
    assert int(compared.split()[1]) > 200
    seen = screenshot(f"{served.url}/other", tmp_path / "notebook.png", width=1200, height=1500)
    assert len(seen) > 50_000


@pytest.mark.parametrize("text", ["", "x" * 3_000, "word " * 2_000])
async def test_paper_cuts_nothing_off(text: str, served: Site, tmp_path: Path) -> None:
    page = hostile(text).html() if text else (await eventful())[1].html()
    assert page.count("@media print") == 2
    served.pages["/paper"] = page.replace("@media print", "@media all")
    served.pages["/printing"] = ON_PAPER
    assert title(dump(f"{served.url}/printing")) == "true 0 "
    served.pages["/printed"] = page
    printed = print_to_pdf(f"{served.url}/printed", tmp_path / "run.pdf")
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") > 1
