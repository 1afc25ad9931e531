"""Functions in processes of their own, which have the imports of this one: a start takes no seconds."""

import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any


class Fork:
    """A fork of this process that calls a function.

    Args:
        function: What is called.
        args: With what.
        environment: Variables beside those of this process.
    """

    def __init__(
        self, function: Callable[..., object], *args: object, environment: dict[str, Any] | None = None
    ) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by `close`)
        variables = {name: str(value) for name, value in (environment or {}).items()}
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=self._run, args=(function, args, variables))
        self.process.start()

    def wait(self, timeout: float) -> tuple[int | None, str]:
        """Waits for its end; the status, None if it goes on, and what was printed, errors as well."""
        self.process.join(timeout)
        self.log.seek(0)
        return self.process.exitcode, self.log.read()

    def close(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.join()
        self.log.close()

    def _run(self, function: Callable[..., object], args: tuple[object, ...], variables: dict[str, str]) -> None:
        os.environ.update(variables)
        for stream in (1, 2):
            os.dup2(self.log.fileno(), stream)
        sys.stdout = sys.stderr = open(os.dup(1), "w", buffering=1)  # noqa: SIM115  (pytest has put its own there)
        try:
            function(*args)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
