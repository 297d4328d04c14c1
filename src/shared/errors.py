"""The one exception for what a user can cause, and the one place that reports it."""

import io
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """Something a user can put right. The message says what is wrong, where, and what to do."""


def run(main: Callable[[], int | None], status: int = 1) -> NoReturn:
    """Run a stage's `main` and end the process.

    Args:
        main: returns an exit status, or nothing for success.
        status: exit status for an error that the user can put right.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Windows may write less than UTF-8 to a pipe
            stream.reconfigure(errors="backslashreplace")
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
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
