"""Forked children: each runs one function, tells its parent what went wrong, and is killed when it hangs."""

import os
import tempfile
import time
import traceback

import pytest

PATIENCE = 20.0
"""Seconds that a child may take on a busy machine."""


class Child:
    """A forked child that runs `work` and ends; `reap` it."""

    def __init__(self, work):
        self._report = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `reap`
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                work()
                status = 0
            except BaseException:  # noqa: BLE001 - reported to the parent
                os.write(self._report.fileno(), traceback.format_exc().encode())
            finally:
                os._exit(status)

    def reap(self):
        """Wait for the child; fail if it failed or hangs."""
        deadline = time.monotonic() + PATIENCE
        with self._report as report:
            while True:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                if ended:
                    report.seek(0)
                    assert status == 0, f"the child ended with status {status}: {report.read().decode()}"
                    return
                if time.monotonic() > deadline:
                    os.kill(self.pid, 9)
                    os.waitpid(self.pid, 0)
                    pytest.fail("the child hangs")
                time.sleep(0.002)


def in_child(work):
    """Run `work` in a forked child; fail if it fails or hangs there."""
    Child(work).reap()
