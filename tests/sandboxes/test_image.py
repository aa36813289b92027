"""Images: made once, from what is installed, with nothing of this machine in them."""

import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from codemode_sandboxes.image import Image, ImageError, build_image
from codemode_sandboxes.image import contents as contents_module
from codemode_sandboxes.process.spawn import guest_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    (folder / ".building-left-by-a-host-that-was-killed").mkdir()
    return folder


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    return build_image(folder=folder)


@pytest.mark.slow
def test_an_image_is_made_once_and_leaves_nothing_else(
    image: Image, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert build_image(folder=folder) == image
    assert caplog.messages == []
    assert {path.name for path in folder.iterdir()} == {".lock", image.root.name}
    assert image.version == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.slow
def test_a_change_of_the_guest_runner_makes_another(
    image: Image, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = guest_files()
    monkeypatch.setattr(contents_module, "guest_files", lambda: {**files, "guest/new.py": b""})
    other = build_image(folder=folder)
    assert other.root != image.root
    assert (other.root / "guest/codemode_sandboxes/guest/new.py").exists()


@pytest.mark.slow
def test_everybody_can_read_it_and_only_its_owner_write(image: Image) -> None:
    for path in image.root.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode in (0o644, 0o755) or (path.name, mode) == ("tmp", 0o1777), path
        assert not path.is_symlink()
        assert path.stat().st_uid == os.geteuid()


@pytest.mark.slow
@pytest.mark.skipif(sys.base_prefix == "/usr", reason="this interpreter's place is everybody's")
def test_no_file_names_the_place_of_the_interpreter(image: Image) -> None:
    place = sys.base_prefix.encode()
    assert [path for path in image.root.rglob("*") if path.is_file() and place in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("exit 3", "python fails: it says nothing"),
        ("echo no such module >&2; exit 1", "python fails: no such module"),
        (f"echo '{json.dumps({'version': [3, 9, 1]})}'", "Python 3.9.1 is too old for a sandbox: it needs 3.11"),
        (None, "python does not run: "),
    ],
)
def test_what_is_no_python_is_an_error_that_says_why(tmp_path: Path, answer: str | None, words: str) -> None:
    python = tmp_path / "python"
    if answer is not None:
        python.write_text(f"#!/bin/sh\n{answer}\n")
        python.chmod(0o755)
    with pytest.raises(ImageError, match=words):
        build_image(str(python), folder=tmp_path / "images")
    assert not (tmp_path / "images").exists()


@pytest.mark.slow
def test_a_mask_does_not_hide_it(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        image = build_image(folder=tmp_path / "images")
    finally:
        os.umask(mask)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (image.root, image.root.parent)] == [0o755, 0o755]


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="the image cannot be written"):
        build_image(folder=tmp_path / "file")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for chroot")
def test_the_interpreter_runs_in_it(image: Image) -> None:
    code = (
        "import bz2, ctypes, decimal, hashlib, lzma, resource, sqlite3, ssl, sysconfig, zoneinfo, sys\n"
        "print(sys.version, sys.prefix, len(zoneinfo.available_timezones()) > 400, sysconfig.get_paths()['stdlib'])"
    )
    command = ["/usr/sbin/chroot", str(image.root), *image.command[:-1], "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env={}, check=False)
    assert done.stdout.startswith(sys.version), done.stderr
    told = done.stdout.removeprefix(sys.version).split()
    assert told[:2] == ["/py", "True"]
    assert told[2].startswith("/py/lib")
