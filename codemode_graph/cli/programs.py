"""The commands about saved programs. What they do is in `codemode_graph.cli.save`, which takes a second to import."""

from typing import Annotated

import typer

from codemode_graph.cli.flags import JOURNAL, RUN


def save(
    run_id: RUN,
    name: Annotated[str, typer.Argument(help="What programs call it by.", show_default=False)],
    description: Annotated[str, typer.Option("--description", help="What it does, for the model.")] = "",
    parameter: Annotated[
        list[str],
        typer.Option(
            help="What it is given anew each time: a variable that the program sets to a constant, or NAME=VALUE for the "
            "value in the program that the parameter takes the place of. May be repeated.",
            metavar="NAME[=VALUE]",
        ),
    ] = [],  # noqa: B006
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Take the place of a saved program of that name, changed by hand or not."),
    ] = False,
    journal: JOURNAL = None,
) -> None:
    """Keep the program of a run that succeeded: from then on it is a tool for programs of recorded runs.

    It becomes a file beside the journal, which can be read and put under version control.
    """
    from codemode_graph.cli.save import save_program

    save_program(run_id, name, description=description, parameters=parameter, overwrite=overwrite, journal=journal)


programs = typer.Typer(help="List, show or remove the saved programs.", invoke_without_command=True)


@programs.callback()
def list_saved(context: typer.Context, journal: JOURNAL = None) -> None:
    """List the saved programs, or show or remove one."""
    if context.invoked_subcommand is None:
        from codemode_graph.cli.save import list_programs

        list_programs(journal=journal)


@programs.command(name="show")
def show_saved(
    name: Annotated[str, typer.Argument(help="Its name.", show_default=False)], journal: JOURNAL = None
) -> None:
    """Print the file of a saved program."""
    from codemode_graph.cli.save import show_program

    show_program(name, journal=journal)


@programs.command(name="remove")
def remove_saved(
    name: Annotated[str, typer.Argument(help="Its name.", show_default=False)], journal: JOURNAL = None
) -> None:
    """Remove a saved program."""
    from codemode_graph.cli.save import remove_program

    remove_program(name, journal=journal)
