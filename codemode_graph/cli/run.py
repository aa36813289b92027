"""Run a task, a program or the demo, and print its answer; end what was started, however the command ends."""

import asyncio
import base64
import itertools
import json
import mimetypes
import os
import re
import shlex
import signal
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TypeVar

import typer
from codemode_sandboxes import SandboxError
from rich.console import Console
from rich.text import Text

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.cli.approval import TerminalApproval, can_ask
from codemode_graph.cli.compare import Comparison, compare_sandboxes
from codemode_graph.cli.flags import UNWRITTEN
from codemode_graph.cli.invocation import Invocation, load_specs, read_invocation
from codemode_graph.demo.show import run_demo
from codemode_graph.errors import CodeModeError, ConfigurationError, JournalError, UnknownRun
from codemode_graph.exact import encode, encode_fields
from codemode_graph.options import read_sandbox
from codemode_graph.state import PendingCall
from codemode_graph.tools.return_type import ReturnType
from codemode_graph.trace.console import say, visible
from codemode_graph.trace.progress import Progress
from codemode_graph.trace.words import describe_remark, plural

T = TypeVar("T")


async def do_task(
    invocation: Invocation,
    work: Callable[[CodeMode, bool | Progress], Awaitable[RunResult]],
    *,
    run_id: str,
    durable: Path | None,
    quiet: bool,
    resume: str | None,
) -> RunResult:
    """Load what an invocation names, and do its work. Where that is cut short, print what took effect.

    Args:
        invocation: What was asked for.
        work: Runs something; it is given where to show progress.
        run_id: The id of its run.
        durable: The file that keeps the run.
        quiet: Show no progress.
        resume: The command that goes on with the run.
    """
    # A wrong model or sandbox name fails at once: check both before any server is started.
    model, options = invocation.load()
    approve = TerminalApproval(yes=invocation.yes)
    async with AsyncExitStack() as stack:
        specs = await load_specs(stack, invocation.mcp, invocation.tools, places=not quiet)
        cm = codemode(tools=specs, code_model=model, durable=durable, approve=approve, **options)
        await stack.enter_async_context(cm)
        if durable is not None:
            await _open_runs(cm)
        try:
            return await work(cm, False if quiet else _progress(invocation.task))
        except BaseException:
            await _tell_of_unfinished(cm, run_id, resume)
            raise


async def _open_runs(cm: CodeMode) -> None:
    """Open the file of the runs before anything begins: the home folder of a user such as nobody does not exist.

    Raises:
        JournalError: It cannot be opened.
    """
    try:
        await cm.runs(limit=1)
    except JournalError as error:
        raise JournalError(f"{error}. Give --journal FILE, or --no-journal to run without") from error


async def _tell_of_unfinished(cm: CodeMode, run_id: str, resume: str | None) -> None:
    """Print the effects of a run that was interrupted or broke off, and the command that goes on with it."""
    console = Console(stderr=True)
    try:
        result = await cm.result(run_id)
    except UnknownRun:  # it had not begun
        return
    except Exception as error:  # such as a disk that fails: there is another error to report, which comes after this
        say(console, f"what the run did cannot be read: {error}", style="yellow")
        if resume is not None:
            _tell_command(console, "If it began, it is not over. Go on with it: ", resume)
        return
    _tell_effects(console, result)
    if result.trace.verdict is None and resume is not None:
        _tell_command(console, "The run is not over. Go on with it: ", resume)


async def compare_task(invocation: Invocation, *, quiet: bool) -> Comparison:
    """Run a program, or one that is written for a task, in every sandbox."""
    model, options = invocation.load()
    first = read_sandbox(options)
    async with AsyncExitStack() as stack:
        return await compare_sandboxes(
            first,
            specs=await load_specs(stack, invocation.mcp, invocation.tools, places=not quiet),
            model=model,
            task=invocation.task,
            program=invocation.code,
            progress=None if quiet else Progress(),
            approve=TerminalApproval(yes=invocation.yes),
            **options,
        )


class Output(NamedTuple):
    """The form in which a command shows its result.

    Attributes:
        quiet: Leave out what only a person reads.
        html: Where the page is written; None for no page.
        artifacts: The folder for the images, sounds and files of the answer; None for none.
        as_json: Print the whole result, as JSON.
    """

    quiet: bool = False
    html: Path | None = None
    artifacts: Path | None = None
    as_json: bool = False


def run_demo_task(model: str | None, output: Output) -> None:
    """Run the demo, and print its answer."""
    check_places(output)
    finish(run_async(run_demo(model, _run_aloud)), output)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end and return its value.

    Tools that print write to stderr: stdout holds the answer alone. An error that the caller can correct becomes one line
    on stderr and exit status 2. Ctrl-C, SIGTERM and SIGHUP cancel the work and wait for its cleanup, so that no server and
    no guest is left behind; the exit status is then 128 and the signal's number.
    """
    ends: list[int] = []
    with asyncio.Runner() as runner:
        try:
            with redirect_stdout(sys.stderr), refusing():
                return runner.run(_until_a_signal(work, ends))
        except asyncio.CancelledError:
            if not ends:
                raise
            _leave(ends[0], "terminated")
        except KeyboardInterrupt:
            _leave(signal.SIGINT, "interrupted")


async def _until_a_signal(work: Coroutine[Any, Any, T], ends: list[int]) -> T:
    """Run a coroutine, and cancel it at the first signal to end; note the signal's number."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def end(number: int, frame: FrameType | None) -> None:
        if ends:  # the cleanup hangs, and whoever sends this wants no more of it
            os._exit(128 + number)
        ends.append(number)
        loop.call_soon_threadsafe(task.cancel)

    # Not the loop's own handlers: a tool that blocks the event loop would keep the second signal from being seen.
    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    before = {number: signal.getsignal(number) for number in numbers}
    if threading.current_thread() is not threading.main_thread():
        before = {}
    before = {number: known for number, known in before.items() if known is not signal.SIG_IGN}  # as nohup has it
    for number in before:
        signal.signal(number, end)
    try:
        return await work
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def _leave(number: int, word: str) -> NoReturn:
    print(word, file=sys.stderr)
    # Synchronous tools still run in their threads; a normal exit would wait for them. `os._exit` flushes nothing.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + number)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn an error that the caller can correct into one line on stderr and exit status 2."""
    try:
        yield
    except (CodeModeError, SandboxError) as error:
        refuse(str(error))
    except (OSError, sqlite3.Error) as error:  # a full disk, no free descriptors, a folder that may not be written
        refuse(f"{type(error).__name__}: {error}")


def take_invocation(parameters: Mapping[str, Any]) -> Invocation:
    """Return the invocation that a command's parameters make, and refuse parameters that make none."""
    with refusing():
        return read_invocation(parameters)


def refuse(message: str) -> NoReturn:
    """Print what the caller has to correct, and exit with status 2."""
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"codemode-graph: {visible(message)}", style="red", markup=False, highlight=False, emoji=False)
    raise typer.Exit(2)


async def _run_aloud(cm: CodeMode, task: str) -> RunResult:
    return await cm.run(task, verbose=_progress(task))


def _progress(task: str) -> Progress:
    console = Console(stderr=True)
    if task:
        say(console, task, prefix="Task ", style="bold")
    return Progress(console)


def read_program(program: Path) -> str:
    """Return the text of a file."""
    try:
        return program.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"--program {program}: {error.strerror if isinstance(error, OSError) else 'it is no text'}")


def read_schema(returns: Path) -> dict[str, Any]:
    """Return the JSON Schema in a file; a file that holds none is refused before the run."""
    try:
        schema = json.loads(returns.read_text(encoding="utf-8"))
    except OSError as error:
        refuse(f"--returns {returns}: {error.strerror}")
    except ValueError as error:
        refuse(f"--returns {returns}: it is no JSON: {error}")
    if not isinstance(schema, dict):
        refuse(f"--returns {returns}: it is no JSON Schema, which is an object")
    try:
        return ReturnType(schema).schema
    except ConfigurationError as error:
        refuse(f"--returns {returns}: {error}")


def check_places(output: Output) -> None:
    """Refuse a place where the page or the artifacts cannot be written, before the run rather than after it."""
    html, artifacts = output.html, output.artifacts
    if artifacts is not None and ((artifacts.exists() and not artifacts.is_dir()) or not artifacts.parent.is_dir()):
        refuse(
            f"--artifacts {artifacts}: "
            + ("it is no folder" if artifacts.exists() else f"there is no folder {artifacts.parent}")
        )
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        refuse(f"--html {html}: " + ("it is a folder" if html.is_dir() else f"there is no folder {html.parent}"))


def finish(result: RunResult, output: Output, *, resume: str | None = None) -> None:
    """Print the answer of a run, or why there is none, write its page, and exit with a status that says which.

    Args:
        result: The result.
        output: The form in which it is shown.
        resume: The command that goes on with the run where it is not over.
    """
    console = Console(stderr=True)
    quiet = output.quiet
    written = save_page(result.trace.save, output.html, quiet=quiet)
    written = save_artifacts(result, output.artifacts, quiet=quiet) and written
    if output.as_json:
        # Of artifacts the handles are enough here: `--artifacts` writes their data.
        print(_json(encode_fields({key: value for key, value in result.items() if key != "content"})))
    elif result["success"]:
        value = result["output"]
        text = value if isinstance(value, str) else _json(encode(value))
        if console.is_terminal and not quiet:
            console.print("\n[bold]Answer[/]")
        _print_answer(text)
    _tell_effects(console, result)
    if result["success"]:
        if result["content"] and output.artifacts is None and not quiet:
            shown = "" if resume is None else f"{resume.replace('resume', 'show', 1)} "
            files = plural(len(result["content"]), "file")
            say(console, Text(f"The data of {files} in the answer: {shown}--artifacts FOLDER", style="dim"))
        if not written:
            raise typer.Exit(UNWRITTEN)
        return
    count = len(result["attempts"])
    if not count:  # the run could not begin: its progress has shown why, unless it was quiet
        if quiet:
            refuse(str(result["error"]))
        raise typer.Exit(2)
    if result.trace.verdict is None:
        _tell_wait(console, result, resume)
    reason = f": {result['error']}" if quiet else ""
    say(console, Text(visible(f"No answer after {count} attempt{'s' * (count != 1)}{reason}"), style="red"))
    raise typer.Exit(1)


def _tell_effects(console: Console, result: RunResult) -> None:
    """Print the effects that a person should know of: all of a run without an answer, and those nobody asked for any more."""
    for word, call in result.trace.remarks(effects=not result["success"]):
        say(console, describe_remark(call), prefix=f"{word}: ", style="yellow")


def _tell_wait(console: Console, result: RunResult, resume: str | None) -> None:
    """Print the calls that a run waits with, and what the caller can do about them."""
    calls = [call for call in result.trace.pending if call["reason"] != "tool"]
    approvals = [call for call in calls if call["reason"] == "approval"]
    for call in approvals:  # one of unknown outcome was called, and stands among the effects
        arguments = json.dumps(call["arguments"], ensure_ascii=False)
        say(console, f"{call['tool']} {arguments} (call {call['id']})", prefix="not called: ", style="yellow")
    if approvals and not can_ask():
        text = f"{plural(len(approvals), 'call')} would have to be approved, and there is no terminal to ask in"
        say(console, f"{text}. --yes calls tools without asking.", style="yellow")
    if resume is None:
        if calls:
            say(console, "This run is not recorded: without --no-journal it could be gone on with.", style="yellow")
        return
    for call in calls:
        if call["reason"] == "unknown":
            _tell_doubt(console, call, resume)
    decisions = f" {_decisions([_usual_decision(call) for call in approvals])}" if approvals else ""
    _tell_command(console, "The run is not over. Go on with it: ", f"{resume}{decisions}")


def _usual_decision(call: PendingCall) -> dict[str, Any]:
    """Return the decision to suggest for a call that was not made: to approve it, where its policy lets that be decided."""
    allowed = call.get("allowed", ["approve"])
    kind = next((each for each in ("approve", "reject", "respond") if each in allowed), "edit")
    edit = {"edited_action": {"name": call["tool"], "args": call["arguments"]}} if kind == "edit" else {}
    return {"id": call["id"], "type": kind, **edit}


def _tell_doubt(console: Console, call: PendingCall, resume: str) -> None:
    """Print the answers to a call of unknown outcome, each with the command for the case in which it is true."""
    happened = {"type": "respond", "message": "it took effect"}
    rejection = {"type": "reject"}
    if "approve" in call.get("allowed", ["approve"]):
        text = f"Nobody knows whether call {call['id']} took effect. Look first, then run the line that is true:"
        answers = {
            "It took effect. The program gets the message as the result, so put the real one there:": happened,
            "It did not take effect. Call it now:": {"type": "approve"},
            "It did not take effect. Do not call it:": rejection,
        }
    else:
        text = f"Call {call['id']} took effect, but its result is lost. Run one of these lines:"
        answers = {
            "The program gets the message as the result, so put the real one there:": happened,
            "Nobody knows the result. The call fails in the program:": rejection,
        }
    say(console, Text(text, style="yellow"))
    for words, answer in answers.items():
        say(console, words, prefix="  ")
        _tell_command(console, "    ", f"{resume} {_decisions([{'id': call['id'], **answer}])}")


def _tell_command(console: Console, words: str, command: str) -> None:
    """Print a command. The terminal breaks its line, and what is copied from there has no line break in it."""
    console.print(Text(f"{words}{visible(command)}", style="yellow"), soft_wrap=True)


def _decisions(answers: list[dict[str, Any]]) -> str:
    return f"--decisions {shlex.quote(json.dumps(answers))}"


def save_page(write: Callable[[Path], object], html: Path | None, *, what: str = "run", quiet: bool = False) -> bool:
    """Write a page, and say where it is, or why it cannot be written; return False where it cannot.

    Args:
        write: Writes it to a file.
        html: The file; None for no page.
        what: The page shows this.
        quiet: Say nothing of a page that is written.
    """
    if html is None:
        return True
    try:
        write(html)
    except OSError as error:
        say(Console(stderr=True), f"codemode-graph: --html {html}: {error.strerror}", style="red")
        return False
    if not quiet:
        say(Console(stderr=True), f"The {what} is in {html}")
    return True


def save_artifacts(result: RunResult, folder: Path | None, *, quiet: bool = False) -> bool:
    """Write the images, sounds and files of an answer into a folder, and say where they are; return False where that fails.

    A file that is there is never overwritten: the next one has a number.

    Args:
        result: The result.
        folder: The folder; None for no files.
        quiet: Say nothing of what is written.
    """
    if folder is None:
        return True
    try:
        folder.mkdir(exist_ok=True)
        for block in result["content"]:
            path = _write_new(folder, _file_name(block), base64.b64decode(block["base64"]))
            if not quiet:
                say(Console(stderr=True), f"{path} ({block['mime_type']})")
    except OSError as error:
        say(Console(stderr=True), f"codemode-graph: --artifacts {folder}: {error.strerror}", style="red")
        return False
    return True


def _file_name(block: Mapping[str, Any]) -> str:
    """Return the name for an artifact: the last part of the one that its tool gave, which may be a path or an address."""
    source = str(block.get("extras", {}).get("name", "")).partition("?")[0]
    name = re.sub(r"[^\w.() -]|^[. ]+|[. ]+$", "", re.split(r"[/\\]", source)[-1])[-100:]
    return (
        name if name.strip(". ") else f"artifact{mimetypes.guess_extension(block['mime_type'].partition(';')[0]) or ''}"
    )


def _write_new(folder: Path, name: str, data: bytes) -> Path:
    for number in itertools.count(1):
        path = folder / (name if number == 1 else f"{Path(name).stem}-{number}{Path(name).suffix}")
        try:
            with path.open("xb") as file:
                file.write(data)
            return path
        except FileExistsError:
            if path.is_file() and path.read_bytes() == data:  # shown a second time
                return path
    raise AssertionError("unreachable")


def _print_answer(text: str) -> None:
    # A terminal would act on control characters in the answer; a file gets the answer as it is.
    if sys.stdout.isatty():
        print(visible(text))
        return
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        sys.stdout.flush()
        sys.stdout.buffer.write(f"{text}\n".encode(errors="backslashreplace"))
        sys.stdout.buffer.flush()
    else:
        print(text)


def _json(value: object) -> str:
    # Where stdout cannot encode every character, JSON escapes lose nothing; `backslashreplace` would break the JSON.
    return json.dumps(value, ensure_ascii="utf" not in sys.stdout.encoding.lower(), indent=2)
