"""The options that several commands have, once each, so that their help reads the same everywhere; an exit status."""

from pathlib import Path
from typing import Annotated

import typer

UNWRITTEN = 3
"""The exit status where the work is done and its answer or page cannot be written."""

MCP = Annotated[
    list[Path],
    typer.Option(
        "--mcp",
        help='A JSON file of MCP servers, {"mcpServers": {...}}, as other MCP clients have. May be repeated.',
        metavar="FILE",
    ),
]
TOOLS = Annotated[
    list[str],
    typer.Option(
        "--tools",
        help="Python functions or tools, such as mytools:TOOLS: a function, a tool, or a list or dict of them, in a "
        "module that can be imported from here. May be repeated.",
        metavar="MODULE:NAME",
    ),
]
MODEL_OPTION = typer.Option(
    help="Who writes the programs: a provider and a model. The provider's key is read from the environment.",
    metavar="PROVIDER:MODEL",
)
SANDBOX = Annotated[
    str | None,
    typer.Option(
        help="Where the programs run; `codemode-graph sandboxes` lists what there is.",
        metavar="NAME",
        show_default="auto",
    ),
]
AUTO = Annotated[
    list[str],
    typer.Option(
        "--auto",
        help="A sandbox that may be chosen: each program gets the cheapest that offers what it uses. May be repeated; "
        "without it all may be.",
        metavar="NAME",
    ),
]
FALLBACK = Annotated[
    list[str],
    typer.Option(
        help="What is used where the sandbox is not available, and only there. May be repeated: the first that is "
        "available is used.",
        metavar="NAME",
    ),
]
PACKAGES = Annotated[
    list[str],
    typer.Option(
        "--package",
        help="What programs may import beside the standard library, in the sandboxes pyodide and docker, as it was made "
        "ready for them. May be repeated.",
        metavar="NAME",
    ),
]
MAX_ATTEMPTS = Annotated[
    int, typer.Option(min=1, help="Programs that are tried for a task, the first included.", metavar="N")
]
MODEL_TIMEOUT = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        help="Seconds that one request to the model may take; by default as its client has it.",
        metavar="SECONDS",
    ),
]
MAX_CALLS = Annotated[
    int | None, typer.Option(min=1, help="Tool calls in the whole run; a further one fails.", metavar="N")
]
BUDGET = Annotated[
    list[str],
    typer.Option(
        help="What a run may use: tokens=N, model-calls=N, seconds=N, tool-calls=N or cost=N. May be repeated.",
        metavar="NAME=NUMBER",
    ),
]
PRICES = Annotated[
    str | None,
    typer.Option(help="What a million tokens read and a million written cost, for the budget cost.", metavar="IN,OUT"),
]
APPROVE = Annotated[
    list[str],
    typer.Option(
        help="Tools whose calls a person has to approve: a name, a pattern such as 'send_*', or an effect such as "
        "effect:write. May be repeated.",
        metavar="PATTERN",
    ),
]
TIMEOUT = Annotated[
    float, typer.Option(min=0.1, help="Seconds that one program may take, its tools included.", metavar="SECONDS")
]
HTML = Annotated[
    Path | None,
    typer.Option(
        "--html", help="Write the run to look at: one page that needs no network and no other file.", metavar="FILE"
    ),
]
ARTIFACTS = Annotated[
    Path | None,
    typer.Option(
        "--artifacts", help="Write the images, sounds and files of the answer into this folder.", metavar="FOLDER"
    ),
]
JOURNAL = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        help="The file that keeps the runs; by default one in your folder for state, which only you can read.",
        envvar="CODEMODE_JOURNAL",
        metavar="FILE",
        show_default=False,
    ),
]
RUN = Annotated[str, typer.Argument(help="The id of the run.", metavar="ID", show_default=False)]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Do not tell what happens, only the answer.")]
PRINT_JSON = Annotated[bool, typer.Option("--json", help="Print it as JSON on stdout.")]
JSON = Annotated[bool, typer.Option("--json", help="Print the whole result as JSON, and nothing else, on stdout.")]
