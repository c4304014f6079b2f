"""A watcher beside a child process: ends the child if its owner dies without ending it (SIGKILL, a crash).

The watcher is a shell that reads from a pipe. The owner writes a line to end the watch; the end of the pipe
means that no owner is left. Processes forked from the owner hold the pipe too, so a shared child lives as
long as any of them; a thread that ends, or a program that they start, makes no difference. The cost is a
process of 1 MB and a descriptor.
"""

import contextlib
import os
import subprocess
from typing import Final

_SCRIPT: Final = """
read -r _ && exit
if [ ! -e /proc/self/cwd ] || [ "/proc/$1/cwd" -ef "$2" ]; then kill -9 "$1"; fi
rm -rf "$2"
"""
"""If the process works in another directory, it has reused the id, and the child is gone."""
_PATIENCE: Final = 5.0


class Watchdog:
    """Watches over process `pid`, which works in `directory`: when the owner dies, both go."""

    __slots__ = ("_pipe", "_shell")

    def __init__(self, pid: int, directory: str) -> None:
        awaited, self._pipe = os.pipe()
        try:
            self._shell = subprocess.Popen(  # noqa: S603 - our own script
                ["/bin/sh", "-c", _SCRIPT, "twotier-watcher", str(pid), directory],
                stdin=awaited,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # an interrupt from the terminal is the owner's
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(awaited)

    def dismiss(self) -> None:
        """End the watch; from here on only the owner ends the child."""
        with contextlib.suppress(OSError):
            os.write(self._pipe, b"\n")
        os.close(self._pipe)
        try:
            self._shell.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._shell.kill()
            self._shell.wait()
