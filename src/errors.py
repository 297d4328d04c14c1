"""The one exception for what a user can cause, and the one place that reports it."""

import sys
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
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
