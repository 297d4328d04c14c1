"""What is printed does nothing to GitHub's log or a terminal, whatever the data hold."""

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from src.shared.errors import Log, UserError, plain, run
from tests.projects import Result, fruit

EVIL = "\n::stop-commands::x\r::error::y\x1b[2J\u2028##[error]z"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("größe 10 %", "größe 10 %"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x00\x85", r"\x1b[2J\x00\x85"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
        (1.5, "1.5"),
    ],
)
def test_control_characters_are_shown_as_what_they_are(text, printed) -> None:
    assert plain(text) == printed


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        (["::error::a\n"], "\\::error::a\n"),
        (["a\n", "  ", "::error::a"], "a\n  \\::error::a"),
        (["a\r\n\t::add-mask::a\n"], "a\r\n\t\\::add-mask::a\n"),
        (["a ", "::b\n", "", "::c"], "a ::b\n\\::c"),
        (["see a::b, ::c\n"], "see a::b, ::c\n"),
        (["a ##[group]b"], "a ##\\[group]b"),
    ],
)
def test_no_line_is_a_command(written, printed) -> None:
    stream = io.StringIO()
    log = Log(stream)
    for text in written:
        assert log.write(text) == len(text)
    assert stream.getvalue() == printed


def commands(printed: str) -> list[str]:
    """Give the lines that GitHub's runner would obey."""
    lines = printed.replace("\r", "\n").split("\n")
    return [line for line in lines if line.lstrip().startswith("::") or "##[" in line]


@pytest.mark.parametrize("error", [UserError(EVIL), OSError(5, EVIL, EVIL), ValueError(EVIL)])
def test_message_of_an_error_is_no_command(capsys, error) -> None:
    def main() -> None:
        print(EVIL)
        raise error

    with pytest.raises(SystemExit):
        run(main)
    out, err = capsys.readouterr()
    assert "stop-commands" in err
    assert commands(out + err) == []
    assert isinstance(error, ValueError) or err.count("\n") == 1


def test_columns_and_labels_are_no_commands(
    project: Callable[..., Path], run: Callable[..., Result]
) -> None:
    """In every stage, and in the table of what validate finds."""
    table = fruit().rename(columns={"colour": f"colour{EVIL}"})
    table["ripe"] = table["ripe"].map({"yes": f"yes{EVIL}", "no": f"no{EVIL}"})
    table[f"constant{EVIL}"] = EVIL
    project(table=table, data={"positive": f"yes{EVIL}"})
    assert run("prepare").status == 0
    done = run("validate")
    assert done.status == 1
    said = done.out + done.err
    assert "constant ::stop-" in said
    assert commands(said) == []
    assert "\x1b" not in said
    assert pd.read_json("metrics/validation.json", typ="series")["violations"]
