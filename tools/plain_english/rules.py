"""The rules: how long a sentence may be, and which words stand where a noun belongs.

- A sentence has at most `MOST_WORDS` words. Text in backticks counts as one word, and a URL as
  none. Comments and the cells of tables are exempt.
- No pattern of `PRONOUNS` occurs. Each names a pronoun in a place where only a noun is clear: a
  reader must otherwise guess which person or thing it means.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools.plain_english.texts import Text, markdown_texts, python_texts

__all__ = ["MOST_WORDS", "PRONOUNS", "Finding", "findings"]

MOST_WORDS = 28

# In a question these pronouns are in their place, so a match must not end in a question mark.
NO_QUESTION = r"(?![^.!?]*\?)"

PRONOUNS = (
    r"\b[Nn]obody\b",
    r"\b[Ww]hoever\b",
    r"\b[Ww]homever\b",
    r"\b[Ww]hatever\b",
    r"\b[Tt]hose (?:that|who|which)\b",
    r"\b(?:[Tt]he|any|every|only|each) one (?:that|who|which)\b",
    r"\b[Ss]o many\b",
    rf"(?:^|[.!?] )(?:Who|Whom|Whose|What)\b{NO_QUESTION}",
    r"\b(?:of|to|by|for|from|with|in|on|than|about|as|and|or|but|not) (?:what|who)\b(?! to\b)"
    + NO_QUESTION,
    rf"\bwhat (?:is|was|are|were|has|had|have|it|they|he|she|we)\b{NO_QUESTION}",
)

_pronoun = re.compile("|".join(f"(?:{pattern})" for pattern in PRONOUNS))


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """One sentence that breaks a rule: where it stands, and which rule it breaks."""

    path: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.problem}"


def findings(source: str, path: str) -> list[Finding]:
    """Return what breaks a rule in the source of one Python or Markdown file."""
    texts = markdown_texts(source) if path.endswith(".md") else python_texts(source)
    return sorted(
        Finding(path=path, line=text.line, problem=problem)
        for text in texts
        for sentence in _sentences(text.text)
        for problem in _problems(sentence, text)
    )


def _problems(sentence: str, text: Text) -> Iterator[str]:
    found = _pronoun.search(sentence)
    if found:
        pronoun = found.group(0).strip(".!? ")
        yield f'"{pronoun}" stands for a noun: write the noun. "{_shortened(sentence)}"'

    length = sum(1 for word in sentence.split() if re.search(r"\w", word))
    if text.is_limited and length > MOST_WORDS:
        yield f'{length} words in one sentence, at most {MOST_WORDS}. "{_shortened(sentence)}"'


def _sentences(text: str) -> Iterator[str]:
    """Split a text into its sentences. A blank line and an item of a list end one as well."""
    prose = re.sub(r"https?://\S+", "", text)
    prose = re.sub(r"``.+?``|`[^`]+`", "code", prose)

    for paragraph in re.split(r"\n\s*\n|\n\s*(?=[-*|] |\d+\. )", prose):
        is_example = re.match(r"\s{4}", paragraph)
        if not is_example:
            joined = " ".join(paragraph.split())
            yield from re.split(r"(?<=[.!?:]) +(?=[A-Z\"(`]|code\b)", joined)


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= 70 else f"{sentence[:70].rstrip()}…"
