"""`python -m codemode_sandboxes.docker build` makes the image that the sandbox `docker` uses."""

import argparse
import sys

from codemode_sandboxes.docker.build_image import BuildFailed, build_docker_image


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m codemode_sandboxes.docker")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="make the image of an installed Python and give it to Docker")
    command.add_argument("--tag", help="the image's name; give it to DockerSandbox(image=...) too")
    command.add_argument("--package", action="append", default=[], help="what pip is to install in it; may be repeated")
    command.add_argument("--python", help="the interpreter that it is made of; this one by default")
    command.add_argument("--host", action="append", default=[], help="a daemon, as in DOCKER_HOST; may be repeated")
    given = parser.parse_args()
    try:
        tag = build_docker_image(
            given.tag,
            packages=given.package,
            python=given.python,
            hosts=given.host or None,
            report=lambda text: print(text, file=sys.stderr),  # noqa: T201
        )
    except BuildFailed as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(tag)  # noqa: T201
    return 0


sys.exit(main())
