"""Replies in the templates of six model families, cut anywhere, with thoughts anywhere: does one run what it does not hold?

Run it with `python -m benchmarks.fuzz_replies 20000`, and with a second number for other replies. It counts the programs
that no fence, field, tag or whole reply held, and those that stood in thoughts, and prints the first of them.
"""

import json
import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.arguments import read_count_and_seed
from codemode_graph.model.reply import program_of, read_reply

__all__ = ["Outcome", "fuzz"]

Write = Callable[[str, str], str]

# The marks of a family: its turn begins, its thoughts open and close, its turn ends.
FAMILIES: dict[str, tuple[str, str, str, str]] = {
    "qwen": ("<|im_start|>assistant\n", "<think>\n", "\n</think>\n\n", "<|im_end|>"),
    "deepseek": ("", "<think>\n", "\n</think>\n\n", "<｜end▁of▁sentence｜>"),
    "gpt-oss": (
        "<|start|>assistant<|channel|>final<|message|>",
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|return|>",
    ),
    "mistral": ("", "[THINK]", "[/THINK]", "</s>"),
    "gemma": ("<start_of_turn>model\n", "<thought>\n", "\n</thought>\n", "<end_of_turn>"),
    "command": (
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        "<|START_THINKING|>",
        "<|END_THINKING|><|START_RESPONSE|>",
        "<|END_RESPONSE|>",
    ),
}
FORMS: list[Write] = [
    lambda code, _: f"```python\n{code}\n```",
    lambda code, _: f"```\n{code}\n```",
    lambda code, words: f"{words}\n\n```py\n{code}\n```\n{words}",
    lambda code, _: f"<code>\n{code}\n</code>",
    lambda code, words: json.dumps({"thoughts": words, "code": code}),
    lambda code, words: "```json\n" + json.dumps({"thoughts": words, "code": code}, indent=1) + "\n```",
    lambda code, _: code,
    lambda code, words: f"{words}\n{code}\n{words}",
    lambda code, _: json.dumps(code),
    lambda code, _: f"code = '''\n{code}\n'''",
]
WORDS = [
    "I list the rows first.",
    "That is wrong. So I should not.",
    "Note: `await tools['never'](n=0)` is not allowed.",
    "Step 1: read. Step 2: write.",
    "It should be amount minus 450",
]
BROKEN = ["amount = amount minus 450", "print x", "No, wait.", "const y = 2;", "%pip install z", "", ""]


@dataclass
class Outcome:
    """The results of the replies.

    Attributes:
        ran: How many had a program.
        wrong: Replies that had one which they do not hold, each with it.
    """

    ran: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)


def fuzz(count: int, *, seed: int = 1) -> Outcome:
    """Read this many replies.

    Args:
        count: How many.
        seed: Of the random numbers.

    Returns:
        How many had a program, and which of them was wrong.
    """
    rng, outcome = random.Random(seed), Outcome()
    for number in range(count):
        reply, allowed = _reply(rng, number)
        given = rng.random() < 0.1
        program = program_of(reply) if given else read_reply(reply).program
        if program.strip() and _parses(program):
            outcome.ran += 1
            if program.strip() not in allowed:
                outcome.wrong.append((reply, program))
    return outcome


def _reply(rng: random.Random, number: int) -> tuple[str, set[str]]:
    """Write a reply; return it with the programs that may run."""
    begins, opens, closes, ends = FAMILIES[rng.choice(list(FAMILIES))]
    programs = [_program(rng, f"{number}_{part}") for part in range(2)]
    allowed = {program.strip() for program in programs}
    answer = "\n".join(
        rng.choice(FORMS)(program, rng.choice(WORDS)) for program in programs[: rng.choice([1, 1, 1, 2])]
    )
    draft = rng.choice(FORMS)(f"await tools['never'](n={number})", rng.choice(WORDS))
    thoughts = f"{opens}{rng.choice(WORDS)}\n{draft}\n{rng.choice(WORDS)}{closes}"
    shape = rng.randrange(6)
    if shape == 0:
        text = thoughts + answer
    elif shape == 1:
        text = thoughts.removeprefix(opens) + answer
    elif shape == 2:
        text = answer + "\n" + thoughts
    elif shape == 3:
        text = thoughts + answer + "\n" + thoughts
    elif shape == 4:
        text = f"{opens}{draft}\n{thoughts}{answer}"
    else:
        text = answer
    text = (begins if rng.random() < 0.5 else "") + text + (ends if rng.random() < 0.5 else "")
    # Where the thoughts have no opening mark, only a cut behind their end leaves a sign of them.
    first = text.rfind(closes) + len(closes) if shape == 1 else 1
    if rng.random() < 0.6 and first < len(text):
        text = text[: rng.randrange(first, len(text))]
    # What stands alone between the marks is a whole reply.
    whole = text.removeprefix(begins).removesuffix(ends)
    if shape in (1, 4):
        whole = whole.rpartition(closes)[2]
    opening, closing = re.escape(opens.strip()), re.escape(closes.strip())
    allowed |= {text.strip(), whole.strip()} if opens not in whole or opens == "<think>\n" else set()
    return text, {*allowed, *(piece.strip() for piece in re.split(f"(?s){opening}.*?(?:{closing}|$)", whole))}


def _program(rng: random.Random, name: str) -> str:
    last = rng.choice(["amount", "x = '''<think>'''"])
    lines = ["amount = 500", rng.choice(BROKEN), f"await tools['pay_{name}'](amount)", last]
    return "\n".join(line for line in lines if line)


def _parses(program: str) -> bool:
    try:
        compile(program, "<program>", "exec", flags=0x2000)  # PyCF_ALLOW_TOP_LEVEL_AWAIT
    except SyntaxError:
        return False
    return True


if __name__ == "__main__":
    number, first = read_count_and_seed("benchmarks.fuzz_replies", __doc__, count=20_000, cases="replies")
    found = fuzz(number, seed=first)
    print(f"{found.ran} programs, {len(found.wrong)} of them that nobody wrote")
    for reply, program in found.wrong[:5]:
        print(f"--- reply\n{reply}\n--- program\n{program}")
    sys.exit(bool(found.wrong))
