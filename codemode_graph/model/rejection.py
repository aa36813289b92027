"""Warnings of a reply about its own code: that it is not to be run, or that it is a mere thought."""

import re

_RUN = r"(?:run|execute|use|do|write|try|send|submit|copy|follow)"
_RUN_PASSIVE = r"(?:be )?(?:run|ran|running|executed?|executing|used?|using|do|done|doing|tried|trying|writing|works?)"
_NOT = (
    r"(?:do not|don[’']?t|never|must not|mustn[’']?t|should not|shouldn[’']?t|would not|wouldn[’']?t|would never|cannot"
    r"|can[’']?t|won[’']?t|will not|will never|not to|not meant to|refuse to|to not|avoid|not for)"
)
_ADVERBS = r"(?:ever |actually |just |simply |directly )*"
_THIS = (
    r"(?:\s+(?:this|that|it|these|those|such|like|as|the (?:following|code|program|snippet|block|script|above|below))\b"
    r"|\W*$|:)"
)
_WRONG = r"(?:wrong|bad|incorrect|invalid|broken|buggy|faulty|flawed|unsafe|dangerous|forbidden|rejected|discarded)"
_CODE = (
    r"(?:examples?|code|versions?|programs?|approach(?:es)?|way|idea|attempts?|one|solutions?|answers?|usage|practice"
    r"|snippets?|scripts?)"
)
_NO_GOOD = rf"(?:{_WRONG}|a bad idea|a mistake|not (?:right|correct|allowed|ok|okay|safe|what))"
_REJECTS = re.compile(
    rf"\b{_NOT} {_ADVERBS}(?:{_RUN}|{_RUN_PASSIVE}){_THIS}"
    rf"|\b(?:does not|doesn[’']?t|did not|didn[’']?t) (?:work|run|compile)\b"
    rf"|\bif (?:I|we|you|one) (?:were|had|did|ran|wanted)\b|\bone (?:might|could) be tempted\b"
    rf"|\bnot (?:to be |meant to be |for )(?:run|executed|execution|used|use)\b"
    rf"|^(?:an? |the |my |your |one |first |second |old |previous )*"
    rf"(?:{_WRONG}|anti-?pattern|counter-?example|don[’']?ts?|avoid|not)"
    rf"(?: (?:{_CODE}|this|that|like this|so))?(?: \([^()]*\))?\W*$"
    rf"|\((?:{_WRONG}|{_NOT} [^()]*|not this)\)"
    rf"|\b(?:this|that|which|following|{_CODE})(?: \w+)?,? (?:is|are|would be|looks|seems) (?:(?!not\b)\w+ )?"
    rf"{_NO_GOOD}\b"
    r"|^\W*[❌✗✘🚫⛔👎]"
    rf"|\b(?:instead of|rather than)(?: this| that)?\W*$|\b{_NOT}\W*$"
    r"|nicht (?:ausführen|so)\b|^falsch\W*$|ne (?:pas|jamais) (?:exécuter|faire|lancer)|\bno (?:ejecut|hag|us)(?:es|as|ar|e)\b"
    r"|não (?:execut|us)|не (?:запуска|выполня|дела)|不要|请勿|错误(?:示例|的|写法)?\W*$|実行しない",
    re.IGNORECASE,
)
_BOUNDED = re.compile(
    r"\b(?:twice|again|more than once|in production|until|unless|before|without|together|in a loop)\b", re.I
)
_THOUGHT = re.compile(
    r"(?:my |internal |inner |rough )*(?:thoughts?|thinking|thought process|reasoning|reflections?|scratch ?pad"
    r"|brainstorm(?:ing)?|drafts?|ideas?|plans?|planning|musings?|considerations?|analysis|hypothetical(?:ly)?)\W*",
    re.IGNORECASE,
)
_ANNOUNCES = re.compile(
    r"\b(?:here(?:[’']s| is| are)|instead|correct(?:ed)?|fixed|final|(?:my|the) (?:program|code|answer|solution|script)"
    r"|let me|let[’']s|I(?:[’']ll| will| now)|now|better|the following)\b",
    re.IGNORECASE,
)
_TAKES_BACK = re.compile(
    rf"(?:but |so |however,? |therefore,? |wait[,.!]? |no[,.!] |actually,? |oh,? |hm+[,.]? )*"
    rf"(?:(?:that|this|it|the above|which)(?:[’']s| is| was| would be| looks| seems) (?:(?!not\b)\w+ )?{_NO_GOOD}"
    rf"|(?:that|this|it|which) would (?:violate|break the|be against)"
    rf"|(?:please )?{_NOT} {_ADVERBS}(?:run|execute|use|do) (?:this|that|it|the (?:above|code|program))"
    r"|(?:scratch|forget|disregard|ignore) (?:this|that|it|the above)|never mind"
    r"|I (?:should|must|will|would|can) ?not(?: (?:do|run|execute|call|use)\b|\W*$)"
    r"|I (?:shouldn|mustn|won|wouldn)[’']?t|so I sh)",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"^[\s#>*_+\-\d.)(]+|[*_`]+")
_LONGEST = 600
_COLONS = (":", "：")


def is_rejected(before: str, after: str = "", *, follows: bool = False) -> bool:
    """Return whether the words around a block of code say that it is not the program.

    They do where the paragraph that leads to it forbids it, as in "Do not run this:" or "Wrong:", and no later sentence of the
    paragraph announces a program; where a line such as "Thought:" stands alone before it; and where the sentence behind it
    takes it back, as in "But that is wrong.".

    Args:
        before: The words before the block, up to the last mark.
        after: Those behind it.
        follows: Another block comes before the words, so that they may take that one back.
    """
    paragraph = re.split(r"\n[ \t]*\n", before[-_LONGEST:].rstrip())[-1]
    lines = [_MARKUP.sub("", line).strip() for line in paragraph.split("\n")]
    if _THOUGHT.fullmatch(lines[-1]):
        return True
    leads = not follows or lines[-1].endswith(_COLONS)
    sentences = [sentence for line in lines for sentence in re.split(r"(?<=[.!?。;])\s+", line) if sentence.strip()]
    for sentence in reversed(sentences):
        rejects = _REJECTS.search(sentence) and not _BOUNDED.search(sentence)
        if rejects and (leads or not _TAKES_BACK.match(sentence)):
            return True
        if _ANNOUNCES.search(sentence):
            break
    paragraph = re.split(r"\n[ \t]*\n|\n[ \t]*(?:`{3}|~{3}|<)", after[:_LONGEST].strip(), maxsplit=1)[0].rstrip()
    # A paragraph that ends in a colon leads to what comes behind it.
    if paragraph.endswith(_COLONS):
        return False
    behind = re.split(r"(?<=[.!?。])\s|\n", _MARKUP.sub("", paragraph))[:2]
    return any(_TAKES_BACK.match(sentence) and not _BOUNDED.search(sentence) for sentence in behind)
