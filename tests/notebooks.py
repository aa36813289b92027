"""Running notebooks as Jupyter would, and keeping what they print.

python -m tests.notebooks [NAME ...]     run notebooks, all unless named, and store what they print
"""

import ast
import asyncio
import contextlib
import io
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.test_docs import execute

FOLDER = Path(__file__).parents[1] / "notebooks"


async def outputs(name: str, notebook: dict[str, Any]) -> AsyncIterator[tuple[dict[str, Any], str, str | None]]:
    """Run the cells in order.

    Yields:
        A code cell, what it prints, and the HTML that its last expression shows itself as.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        source = "".join(cell["source"])
        last = ast.parse(source).body[-1]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            await execute(source, f"{name}[{number}]", namespace)
            shown = last.value.id if isinstance(last, ast.Expr) and isinstance(last.value, ast.Name) else ""
        value: Any = namespace.get(shown)
        yield cell, printed.getvalue(), value._repr_html_() if hasattr(value, "_repr_html_") else None


async def filled(name: str, notebook: dict[str, Any]) -> str:
    """Run a notebook; its file with what it prints."""
    number = 0
    async for cell, printed, html in outputs(name, notebook):
        number += 1
        cell["execution_count"] = number
        cell["outputs"] = []
        if printed:
            text = printed.splitlines(keepends=True)
            cell["outputs"].append({"name": "stdout", "output_type": "stream", "text": text})
        if html is not None:
            data = {"text/html": html.splitlines(keepends=True)}
            shown = {"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}
            cell["outputs"].append(shown)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path in [FOLDER / name for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        path.write_text(asyncio.run(filled(path.name, json.loads(path.read_text()))))
