"""The language check finds a planted sentence and a planted word, and passes plain sentences."""

import pytest

from tools.plain_english.__main__ import main
from tools.plain_english.rules import MOST_WORDS, findings

LONG = f"{'The relay sends one row and then ' * 5}stops"


def problems(source: str, path: str = "module.py") -> list[str]:
    return [finding.problem for finding in findings(source, path)]


@pytest.mark.parametrize(
    "source",
    [
        f'"""{LONG}."""',
        f'def send():\n    """{LONG}."""',
        f'logger.warning("{LONG} for %s", order)',
        f'logger.warning(f"{LONG} for {{order}}")',
        f'raise ValueError("{LONG}.")',
    ],
    ids=["docstring of a module", "docstring", "log message", "f-string in a log", "error"],
)
def test_a_sentence_that_is_too_long_is_found(source):
    (problem,) = problems(source)
    assert f"at most {MOST_WORDS}" in problem


@pytest.mark.parametrize(
    "text",
    [
        "The row goes back to whoever asks.",
        "Whatever fails is sent again.",
        "Nobody reads the row.",
        "Who waits holds a thread.",
        "What is leased is found by its id.",
        "The worker takes those that are due.",
        "It lasts for so many seconds.",
        "Return the names of what failed.",
    ],
)
@pytest.mark.parametrize(
    "source",
    ['"""{}"""', "# {}", 'logger.info("{}")', 'raise ValueError("{}")'],
    ids=["docstring", "comment", "log message", "error"],
)
def test_a_pronoun_in_the_place_of_a_noun_is_found(source, text):
    (problem,) = problems(source.format(text))
    assert "write the noun" in problem


@pytest.mark.parametrize(
    "text",
    [
        "The worker that inserts the row runs the step.",
        "Who may cancel an order?",
        "The message says what to do.",
        "See https://example.com/nobody/whatever for the rule.",
        "The field `whoever` keeps its name.",
    ],
)
def test_plain_sentences_pass(text):
    assert problems(f'"""{text}"""') == []
    assert problems(text, "page.md") == []


def test_two_short_sentences_are_not_one_long_sentence():
    half = "The relay sends one row and then it stops at once"
    assert problems(f'"""{half}. {half}. {half}."""') == []


def test_the_line_is_that_of_the_text():
    (finding,) = findings('x = 1\n\n\ndef send():\n    """Ask whoever knows."""\n', "module.py")
    assert str(finding).startswith("module.py:5: ")


class TestMarkdown:
    def test_a_long_sentence_in_a_paragraph_is_found_and_its_lines_are_joined(self):
        text = f"# Title\n\n{LONG.replace(' and ', chr(10) + 'and ')}.\n"
        (finding,) = findings(text, "page.md")
        assert finding.line == 3

    def test_code_blocks_are_skipped(self):
        assert problems(f"```\n{LONG}\nnobody\n```\n", "page.md") == []

    def test_a_row_of_a_table_may_be_long_but_has_no_pronoun_for_a_noun(self):
        assert problems(f"| a | {LONG}. |", "page.md") == []
        assert len(problems("| a | Whoever comes first. |", "page.md")) == 1


def test_the_program_exits_with_1_for_a_finding_and_with_0_without(tmp_path, capsys, monkeypatch):
    planted = tmp_path / "planted.py"
    monkeypatch.setattr("tools.plain_english.__main__._files", lambda _: [planted])

    planted.write_text('"""Ask whoever knows."""')
    assert main([]) == 1
    assert "whoever" in capsys.readouterr().out

    planted.write_text('"""Ask the operator."""')
    assert main([]) == 0
