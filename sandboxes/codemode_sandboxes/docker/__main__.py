"""The command `python -m codemode_sandboxes.docker build`, which makes the image of the sandbox `docker`."""

import argparse
import sys

from codemode_sandboxes.docker.build_image import BuildFailed, build_docker_image


def main() -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m codemode_sandboxes.docker")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="make the image of an installed Python and send it to Docker")
    command.add_argument("--tag", help="the image's name; DockerSandbox(image=...) needs it too")
    command.add_argument("--package", action="append", default=[], help="what pip installs in it; may be repeated")
    command.add_argument("--python", help="the interpreter that it is made of; by default this one")
    command.add_argument("--host", action="append", default=[], help="a daemon, as in DOCKER_HOST; may be repeated")
    options = parser.parse_args()
    try:
        tag = build_docker_image(
            options.tag,
            packages=options.package,
            python=options.python,
            hosts=options.host or None,
            report=lambda text: print(text, file=sys.stderr),  # noqa: T201
        )
    except BuildFailed as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(tag)  # noqa: T201
    return 0


sys.exit(main())
