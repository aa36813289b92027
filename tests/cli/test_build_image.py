"""`codemode-graph build-image`."""

import os
import subprocess
import sys

import pytest

from tests.sandboxes.processes import make


def command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "codemode_graph", "build-image", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


def test_without_a_daemon_it_says_what_to_do_and_leaves_with_2() -> None:
    done = command(DOCKER_HOST="unix:///nowhere/docker.sock")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("codemode-graph: no Docker daemon answers at unix:///nowhere/docker.sock. Start it, ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_it_tells_its_steps_and_prints_the_images_name_alone() -> None:
    make("docker")  # or there is nothing to build for
    done = command("--tag", "codemode-test-command:1")
    assert (done.returncode, done.stdout) == (0, "codemode-test-command:1\n")
    steps = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("  ✓ ")]
    assert steps == ["collecting", "packing", "sending"]
    assert "DockerSandbox(image='codemode-test-command:1')" in done.stderr
    subprocess.run(["docker", "rmi", "-f", "codemode-test-command:1"], check=True, capture_output=True)
