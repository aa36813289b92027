"""The commands and their options.

A command imports its code when it runs, because LangChain takes a second to import and `--help` has no use for it.
"""

import inspect
import platform
import re
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from codemode_graph.cli import flags
from codemode_graph.cli.programs import programs, save

app = typer.Typer(
    help="Code mode: a model writes one program that calls many tools; it is checked, run in a sandbox, and repaired.",
    epilog="Try `codemode-graph demo`: it needs no key.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(not installed: run from its source)"


def _show_versions(show: bool) -> None:
    if show:
        ours = ", ".join(f"{name} {_version_of(name)}" for name in ("codemode-graph", "codemode-sandboxes"))
        typer.echo(f"{ours}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_show_versions, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def run(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="What is to be done, in plain language.", show_default=False)] = "",
    mcp: flags.MCP = [],  # noqa: B006 - typer's way to give a list option its default
    tools: flags.TOOLS = [],  # noqa: B006
    model: Annotated[str, flags.MODEL_OPTION] = "openai:gpt-5.2",
    program: Annotated[
        Path | None,
        typer.Option(help="Run this program, and ask no model. There needs to be no task then.", metavar="FILE"),
    ] = None,
    returns: Annotated[
        Path | None,
        typer.Option(
            help="The JSON Schema of the answer. The model is shown it, and an answer of another type is repaired.",
            metavar="FILE",
        ),
    ] = None,
    sandbox: flags.SANDBOX = None,
    auto: flags.AUTO = [],  # noqa: B006
    fallback: flags.FALLBACK = [],  # noqa: B006
    package: flags.PACKAGES = [],  # noqa: B006
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Run the program in every other available sandbox, too, and show what each gives. Tools are called "
            "in the first alone; the others get their answers from its journal, so nothing is done twice, and a call "
            "that the first did not make fails. Exit status 0 where all give the same value.",
        ),
    ] = False,
    approve: flags.APPROVE = [],  # noqa: B006
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Ask nobody: destructive tools are called, too. Without it they ask in the terminal."
        ),
    ] = False,
    max_attempts: flags.MAX_ATTEMPTS = 3,
    timeout: flags.TIMEOUT = 60.0,
    model_timeout: flags.MODEL_TIMEOUT = None,
    max_calls: flags.MAX_CALLS = None,
    budget: flags.BUDGET = [],  # noqa: B006
    prices: flags.PRICES = None,
    journal: flags.JOURNAL = None,
    no_journal: Annotated[
        bool,
        typer.Option(
            "--no-journal", help="Do not record the run: it cannot be resumed, and its values stay in memory."
        ),
    ] = False,
    quiet: flags.QUIET = False,
    html: flags.HTML = None,
    artifacts: flags.ARTIFACTS = None,
    as_json: flags.JSON = False,
) -> None:
    """Do a task.

    The answer goes to stdout, what happens meanwhile to stderr. The exit status is 0 with an answer, 1 without one,
    2 where something has to be put right first, 3 where the answer cannot be written, 130 after Ctrl-C, and 143 after
    SIGTERM.

    For example: codemode-graph run "Which files are larger than 1 MB?" --mcp servers.json
    """
    # An error of usage before the slow import.
    if not task and program is None:
        raise typer.BadParameter("there is nothing to do: give a task in plain language, or --program FILE")
    from codemode_graph.cli.history import run_task
    from codemode_graph.cli.run import Output, read_program, read_schema, take_invocation

    invocation = take_invocation(context.params)
    if program is not None:
        invocation = replace(invocation, code=read_program(program), model=None)
    if returns is not None:
        invocation.options["returns"] = read_schema(returns)
    output = Output(quiet, html, artifacts, as_json)
    run_task(invocation, output, compare=compare, journal=journal, no_journal=no_journal)


@app.command()
def resume(
    run_id: flags.RUN,
    decisions: Annotated[
        str | None,
        typer.Option(
            help="What you decided about the calls that wait: a list in their order, or with their ids, such as "
            """'[{"id": "1.2", "type": "approve"}, {"id": "1.3", "type": "reject", "message": "too much"}]'.""",
            metavar="JSON",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Approve the calls that wait, and those that come, without asking.")
    ] = False,
    journal: flags.JOURNAL = None,
    quiet: flags.QUIET = False,
    html: flags.HTML = None,
    artifacts: flags.ARTIFACTS = None,
    as_json: flags.JSON = False,
) -> None:
    """Go on with a run that was killed, or that waits for approval: nothing is done twice.

    Tools, servers, model and sandbox are those that it began with. In a terminal it asks about the calls that wait. Of a
    run that is over it prints the answer.
    """
    from codemode_graph.cli.history import resume_run
    from codemode_graph.cli.run import Output

    resume_run(run_id, Output(quiet, html, artifacts, as_json), decisions=decisions, yes=yes, journal=journal)


@app.command()
def show(
    run_id: flags.RUN,
    journal: flags.JOURNAL = None,
    html: flags.HTML = None,
    artifacts: flags.ARTIFACTS = None,
    as_json: flags.JSON = False,
) -> None:
    """Show what is recorded of a run: its programs, its calls and its answer."""
    from codemode_graph.cli.history import show_run
    from codemode_graph.cli.run import Output

    show_run(run_id, Output(html=html, artifacts=artifacts, as_json=as_json), journal=journal)


runs = typer.Typer(help="List the recorded runs, or delete old ones.", invoke_without_command=True)
app.add_typer(runs, name="runs")


@runs.callback()
def list_recorded(
    context: typer.Context,
    journal: flags.JOURNAL = None,
    limit: Annotated[int, typer.Option(min=1, help="The most runs.", metavar="N")] = 20,
    as_json: flags.JSON = False,
) -> None:
    """List the recorded runs, the newest first, or delete old ones."""
    if context.invoked_subcommand is None:
        from codemode_graph.cli.history import list_runs

        list_runs(journal=journal, limit=limit, as_json=as_json)


@runs.command()
def prune(
    older_than: Annotated[
        str, typer.Option(help="A number of minutes, hours, days or weeks: 30d.", metavar="AGE", show_default=False)
    ],
    journal: flags.JOURNAL = None,
) -> None:
    """Delete the runs that are over and older than this. Runs that can be resumed stay."""
    from codemode_graph.cli.history import prune_runs

    prune_runs(older_than=older_than, journal=journal)


app.command()(save)
app.add_typer(programs, name="programs")


@app.command(name="tools")
def list_tools(
    mcp: flags.MCP = [],  # noqa: B006
    tools: flags.TOOLS = [],  # noqa: B006
    cards: Annotated[bool, typer.Option("--cards", help="Print what the model reads of each, too.")] = False,
    observed: Annotated[
        bool,
        typer.Option(
            "--observed", help="Show what recorded runs saw of the results of tools that declare none: names and types."
        ),
    ] = False,
    export: Annotated[Path | None, typer.Option("--export", help="Write that to a file.", metavar="FILE")] = None,
    load: Annotated[
        Path | None, typer.Option("--import", help="Add what such a file has to it, first.", metavar="FILE")
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Forget it.")] = False,
    journal: flags.JOURNAL = None,
) -> None:
    """Show the tools that programs could call, and what telling the model of them costs."""
    if observed or export or load or forget:
        from codemode_graph.cli.inventory import show_observed

        show_observed(mcp=mcp, tools=tools, journal=journal, export=export, load=load, forget=forget)
    else:
        from codemode_graph.cli.inventory import show_tools

        show_tools(mcp=mcp, tools=tools, cards=cards)


@app.command()
def providers(
    as_json: flags.PRINT_JSON = False,
) -> None:
    """Show the providers of models that --model takes, and how the package of each is installed."""
    from codemode_graph.cli.inventory import show_providers

    show_providers(as_json=as_json)


@app.command()
def sandboxes(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Those to try; by default all but ray, which would start a cluster.", metavar="[NAME]..."),
    ] = None,
    as_json: flags.PRINT_JSON = False,
) -> None:
    """Show where programs can run on this machine, what each place enforces, and how fast it starts."""
    from codemode_graph.cli.sandboxes import show_sandboxes

    show_sandboxes(names or [], as_json=as_json)


@app.command()
def build_image(
    tag: Annotated[
        str | None,
        typer.Option(help="The image's name; by default the one that the sandbox docker asks for.", metavar="NAME"),
    ] = None,
    package: Annotated[
        list[str],
        typer.Option(help="What pip is to install in it, such as numpy. May be repeated.", metavar="NAME"),
    ] = [],  # noqa: B006
    python: Annotated[
        str | None,
        typer.Option(help="The interpreter that it is made of; by default the one that runs this.", metavar="PATH"),
    ] = None,
    host: Annotated[
        list[str],
        typer.Option(
            help="A Docker daemon to give it to, as in DOCKER_HOST; by default that one. May be repeated.",
            metavar="ADDRESS",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Make the image that programs have in the sandbox docker, of a Python that is installed here.

    It needs a Docker daemon, and no registry: nothing is downloaded, but for the packages.
    """
    from codemode_graph.cli.sandboxes import show_build

    show_build(tag=tag, packages=package, python=python, hosts=host)


@app.command()
def serve(
    context: typer.Context,
    mcp: flags.MCP = [],  # noqa: B006
    tools: flags.TOOLS = [],  # noqa: B006
    model: Annotated[str | None, flags.MODEL_OPTION] = None,
    sandbox: flags.SANDBOX = None,
    auto: flags.AUTO = [],  # noqa: B006
    fallback: flags.FALLBACK = [],  # noqa: B006
    package: flags.PACKAGES = [],  # noqa: B006
    approve: flags.APPROVE = [],  # noqa: B006
    max_attempts: flags.MAX_ATTEMPTS = 3,
    timeout: flags.TIMEOUT = 60.0,
    model_timeout: flags.MODEL_TIMEOUT = None,
    max_calls: flags.MAX_CALLS = None,
    budget: flags.BUDGET = [],  # noqa: B006
    prices: flags.PRICES = None,
    http: Annotated[
        str | None,
        typer.Option(
            help="Serve streamable HTTP here, at /mcp, and not stdio. Clients send what CODEMODE_TOKEN holds as their "
            "bearer token; without it only this machine is served.",
            metavar="HOST:PORT",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str],
        typer.Option(
            help="A name under which clients reach the server, such as that of a proxy before it. May be repeated.",
            metavar="NAME",
        ),
    ] = [],  # noqa: B006
    forwarded_from: Annotated[
        list[str],
        typer.Option(
            help="The address of a proxy whose X-Forwarded-For and X-Forwarded-Proto headers count. May be repeated.",
            metavar="ADDRESS",
        ),
    ] = [],  # noqa: B006
    max_running: Annotated[int, typer.Option(min=1, help="Calls that run at one time.", metavar="N")] = 32,
    max_waiting: Annotated[
        int, typer.Option(min=0, help="Further calls that wait, also for people; one more is refused.", metavar="N")
    ] = 256,
    grace: Annotated[
        float,
        typer.Option(min=0, help="Seconds that calls have to end after Ctrl-C or SIGTERM.", metavar="SECONDS"),
    ] = 10.0,
    access_log: Annotated[
        str | None, typer.Option(help="Write HTTP requests here, as JSON lines; - is stderr.", metavar="FILE")
    ] = None,
    audit_log: Annotated[
        str | None,
        typer.Option(help="Write who calls what here, redacted, as JSON lines; - is stderr.", metavar="FILE"),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="A file that keeps the runs, for `codemode-graph resume`. Default: memory.", metavar="FILE"),
    ] = None,
) -> None:
    """Offer code mode to other agents, as an MCP server.

    Its tool `run_code` runs a program that the client's own model wrote. With --model there is `run_task`, too, which
    has the program written. A program that failed is gone on from, and nothing is done twice.

    For example: codemode-graph serve --mcp servers.json --http 127.0.0.1:8123
    """
    from codemode_graph.cli.run import take_invocation
    from codemode_graph.cli.serve import Service
    from codemode_graph.cli.serve import serve as serve_clients

    own = {field.name: context.params[field.name] for field in fields(Service) if field.name in context.params}
    serve_clients(take_invocation(context.params), Service(**own, version=_version_of("codemode-graph")))


@app.command(name="eval")
def evaluate(
    context: typer.Context,
    tasks: Annotated[
        Path,
        typer.Argument(help="The tasks, as YAML or JSON.", metavar="FILE", show_default=False, dir_okay=False),
    ],
    model: Annotated[str, flags.MODEL_OPTION] = "openai:gpt-5.2",
    mcp: flags.MCP = [],  # noqa: B006
    tools: flags.TOOLS = [],  # noqa: B006
    only: Annotated[
        list[str], typer.Option(help="The name of a task to run; by default all. May be repeated.", metavar="NAME")
    ] = [],  # noqa: B006
    repeat: Annotated[int, typer.Option(min=1, help="How often each task is run.", metavar="N")] = 1,
    sandbox: flags.SANDBOX = None,
    auto: flags.AUTO = [],  # noqa: B006
    fallback: flags.FALLBACK = [],  # noqa: B006
    package: flags.PACKAGES = [],  # noqa: B006
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Call destructive tools. Without it a run that would call one has no answer."),
    ] = False,
    max_attempts: flags.MAX_ATTEMPTS = 3,
    timeout: flags.TIMEOUT = 60.0,
    model_timeout: flags.MODEL_TIMEOUT = None,
    max_calls: flags.MAX_CALLS = None,
    budget: flags.BUDGET = [],  # noqa: B006
    prices: flags.PRICES = None,
    quiet: flags.QUIET = False,
    html: flags.HTML = None,
    as_json: flags.JSON = False,
) -> None:
    """Run tasks whose answers and effects are known, and count what is solved, repaired, silently wrong and failed.

    The exit status is 0 where every run solved its task, 1 where one did not, and 2 where something has to be put right
    first.

    For example: codemode-graph eval tasks.yaml --tools mytools:TOOLS --html report.html
    """
    from codemode_graph.cli.eval_tasks import eval_tasks
    from codemode_graph.cli.run import Output, take_invocation

    invocation = take_invocation(context.params)
    eval_tasks(tasks, invocation, Output(quiet, html, as_json=as_json), only=only, repeat=repeat)


@app.command()
def demo(
    model: Annotated[str | None, flags.MODEL_OPTION] = None, html: flags.HTML = None, as_json: flags.JSON = False
) -> None:
    """See a run on real tools: an MCP server and Python functions.

    Without a key for OpenAI and without --model, the model's words are recorded; everything else happens.
    """
    from codemode_graph.cli.run import Output, run_demo_task

    run_demo_task(model, Output(html=html, as_json=as_json))


for _group in (app, runs, programs):
    for _command in _group.registered_commands:
        # Rich breaks a line where a docstring does, and the terminal breaks it again.
        _command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(_command.callback) or "")
