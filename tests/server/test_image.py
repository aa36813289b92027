"""The image of LangGraph Server: the steps of its Dockerfile, run in their order in a root of their own."""

import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pathspec
import pytest

ROOT = Path(__file__).parents[2]
LANGGRAPH = Path(sys.executable).parent / "langgraph"
NEEDED = ("uv", "hatchling", "editables", "langgraph_cli", "langgraph_api")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, NEEDED)), reason=f"needs {', '.join(NEEDED)}: scripts/test installs them"
    ),
]


@dataclass(frozen=True)
class Image:
    """The image that the steps have built."""

    root: Path
    python: Path
    workdir: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        return subprocess.run(
            command, cwd=self.workdir, env=self.environment, check=True, capture_output=True, text=True, timeout=120
        ).stdout


def _sent(context: Path) -> list[Path]:
    """The files that Docker gets of a folder."""
    ignored = pathspec.GitIgnoreSpec.from_lines((context / ".dockerignore").read_text().splitlines())
    return [path for path in context.rglob("*") if path.is_file() and not ignored.match_file(path.relative_to(context))]


def _context(folder: Path) -> Path:
    """A checkout, with what developers have in one and nobody else is to get."""
    left_out = shutil.ignore_patterns(".git", ".venv*", ".*cache", "__pycache__", "node_modules", ".langgraph_api")
    shutil.copytree(ROOT, folder, ignore=left_out)
    for name in (
        ".git/config",
        ".venv/pyvenv.cfg",
        ".venv-test-3.11/x",
        ".env",
        "sandboxes/.env",
        "notes.sqlite",
        ".cache/x",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("SECRET=1")
    return folder


def _venv(folder: Path) -> Path:
    """A Python that has what is installed here, links to it at least, but neither of our packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for origin in reversed([Path(path) for path in sys.path if path.endswith("site-packages")]):
        for entry in origin.iterdir():
            ours = re.match(r"(_?_editable.*)?_?codemode", entry.name) or entry.suffix == ".pth"
            if not ours and entry.name != "__pycache__" and not (site / entry.name).exists():
                # uv takes no link for the record of a package.
                make = shutil.copytree if entry.suffix == ".dist-info" else os.symlink
                make(entry, site / entry.name)
    return folder / "bin" / "python"


def _install(root: Path, *, sandboxes: str) -> Image:
    context = _context(root / "codemode-graph")
    written = root / "Dockerfile"
    subprocess.run([LANGGRAPH, "dockerfile", written], cwd=context, check=True, capture_output=True, timeout=120)
    steps = written.read_text().replace("\\\n", " ")
    installs, _, rest = steps.partition("# -- End of local dependencies install --")
    assert rest
    python, uv = _venv(root / "venv"), Path(importlib.import_module("uv").find_uv_bin()).parent
    (root / "api").mkdir()
    (root / "api" / "constraints.txt").touch()
    (root / "deps").mkdir()

    def here(text: str) -> str:
        """The paths of the image, below `root`; no network, and the venv in place of the image's Python."""
        text = re.sub(r"(?<![\w.])/(deps|opt|api)\b", rf"{root}/\1", text)
        return text.replace("--system", f"--python {python} --offline --no-build-isolation")

    environment = {
        "PATH": os.pathsep.join([str(python.parent), str(uv), os.environ["PATH"]]),
        "HOME": str(root),
        "SANDBOXES": sandboxes,
    }
    for step in installs.splitlines():
        command, _, rest_of_step = step.partition(" ")
        if command == "ADD":
            source, target = rest_of_step.split()
            for path in _sent(context):
                if path.is_relative_to(context / source):
                    copy = Path(here(target)) / path.relative_to(context / source)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
        elif command == "RUN":
            subprocess.run(["sh", "-ec", here(rest_of_step)], env=environment, check=True, timeout=300)
        else:
            assert command in ("", "#", "FROM", "ARG"), step
    (graphs,) = re.findall(r"^ENV LANGSERVE_GRAPHS='(.*)'$", rest, re.MULTILINE)
    (workdir,) = re.findall(r"^WORKDIR (.*)$", rest, re.MULTILINE)
    return Image(root, python, Path(here(workdir)), {**environment, "LANGSERVE_GRAPHS": here(graphs)})


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return _install(tmp_path_factory.mktemp("image"), sandboxes="bubblewrap,nsjail")


def test_the_graphs_are_loaded_from_the_image(image: Image) -> None:
    program = """
import codemode_graph, codemode_sandboxes, json, os
from langgraph_api.graph import verify_graphs
verify_graphs()  # of LANGSERVE_GRAPHS; raises where one cannot be loaded
print("loaded", *sorted(json.loads(os.environ["LANGSERVE_GRAPHS"])), codemode_graph.__file__, codemode_sandboxes.__file__)
"""
    environment = ["DATABASE_URI=:memory:", "REDIS_URI=fake", "LANGGRAPH_RUNTIME_EDITION=inmem", "MIGRATIONS_PATH=x"]
    output = image.run("env", *environment, str(image.python), "-c", program)
    *names, graph, sandboxes = output.partition("loaded ")[2].splitlines()[0].split()
    assert names == ["agent", "codemode", "composed"]
    assert Path(graph).is_relative_to(image.root / "deps")
    assert Path(sandboxes).is_relative_to(image.root / "deps")


def test_the_image_has_the_sandboxes_that_are_asked_for(image: Image) -> None:
    program = "from codemode_sandboxes import create_sandbox as c; print(c('bubblewrap').name, c('nsjail').name)"
    assert image.run(str(image.python), "-c", program).split() == ["bubblewrap", "nsjail"]


def test_nothing_but_the_product_goes_into_the_image(image: Image) -> None:
    files = {path.relative_to(image.workdir) for path in image.workdir.rglob("*") if path.is_file()}
    assert {path.parts[0] for path in files} == {
        "LICENSE", "README.md", "codemode_graph", "graphs", "hatch_build.py", "langgraph.json", "pyproject.toml", "sandboxes"
    }  # fmt: skip
    assert not [path for path in files if path.name.startswith(".env")]


def test_the_settings_of_a_server_are_in_a_file_that_may_be_missing() -> None:
    assert json.loads((ROOT / "langgraph.json").read_text())["env"] == ".env"
    variables = re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    documented = (ROOT / "docs" / "deployment.md").read_text()
    assert [name for name in variables if name.startswith("CODEMODE_") and name not in documented] == []
