"""A watcher beside a child process: ends the child when its owner is gone without having done so (SIGKILL, a crash).

It is a shell that waits at the end of a pipe. The owner says that all is well by writing a line; the pipe's end says
that nobody is left who could. Processes forked from the owner hold the pipe too, so a child that they share lives for
as long as any of them; a thread that ends, or a program that they start, makes no difference. Costs a process of 1 MB
and a descriptor.
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
"""A process of that id that works in another directory has taken it over: the child is gone."""
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
        """End watching; whatever becomes of the child is the owner's business."""
        with contextlib.suppress(OSError):
            os.write(self._pipe, b"\n")
        os.close(self._pipe)
        try:
            self._shell.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._shell.kill()
            self._shell.wait()
