"""The one exception for what a user can cause, and the one place that reports it.

GitHub takes a line of a log that begins with `::error::` or the like for a command, and a terminal
obeys control characters. Names, classes and labels come from data: print them by `plain`.
"""

import io
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NoReturn

# Control characters, the separators of lines and paragraphs, what turns the direction of text.
HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
COMMAND = re.compile(r"(?:^|(?<=[\r\n]))([ \t]*)(?=::)|(?<=##)(?=\[)")


class UserError(Exception):
    """Something a user can put right. The message says what is wrong, where, and what to do."""


def plain(text: object) -> str:
    r"""Return text that fits in one line, and does nothing there.

    Args:
        text: of any origin. A newline in it becomes `\n`, another control character `\x1b`.
    """
    return HIDDEN.sub(lambda sign: repr(sign[0])[1:-1], str(text))


class Log:
    """A stream on which no line is taken for one of GitHub's commands, whatever is printed."""

    def __init__(self, stream: Any) -> None:
        """Wrap `stream`."""
        self.stream, self.begun = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        r"""Write text, with a backslash before what would begin a command."""
        begun = "." if self.begun else ""  # stands for what the line holds already
        tame = COMMAND.sub(r"\1\\", begun + text)[len(begun) :]
        if text:
            self.begun = bool(re.split(r"[\r\n]", begun + text)[-1].strip(" \t"))
        self.stream.write(tame)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)


def run(main: Callable[[], int | None], status: int = 1) -> NoReturn:
    """Run a stage's `main` and end the process.

    Args:
        main: returns an exit status, or nothing for success.
        status: exit status for an error that the user can put right.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Windows may write less than UTF-8 to a pipe
            stream.reconfigure(errors="backslashreplace")
    with redirect_stdout(Log(sys.stdout)), redirect_stderr(Log(sys.stderr)):
        _run(main, status)


def _run(main: Callable[[], int | None], status: int) -> NoReturn:
    try:
        sys.exit(main())
    except UserError as error:
        message = str(error)
    except OSError as error:  # disk full, no permission
        message = f"{error.filename or 'a file'}: {error.strerror or error}"
    except MemoryError:
        message = "out of memory: use fewer rows, or a machine with more"
    except KeyboardInterrupt:
        message, status = "interrupted", 130
    except Exception:  # a mistake of ours; for the gate, 1 would say that it judged
        traceback.print_exc()
        sys.exit(status)
    print(f"error: {plain(message)}", file=sys.stderr)
    sys.exit(status)
