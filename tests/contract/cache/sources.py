"""Sources for tests of loads: they count what is asked of them, and answer when they are told to."""

import threading


class Source:
    """A loader that counts its calls; each waits until it is let go, and gives a number or raises."""

    def __init__(self, *, free=True) -> None:
        self.go = threading.Event()
        self.began = threading.Event()
        self.error: BaseException | None = None
        self.calls: list[object] = []
        if free:
            self.go.set()

    def __call__(self):
        """Load: 1 at the first call, then 2."""
        self.calls.append(None)
        number = len(self.calls)
        self._wait()
        return number

    def many(self, keys):
        """Load several keys."""
        self.calls.append(list(keys))
        self._wait()
        return {key: f"{key} {len(self.calls)}" for key in keys}

    def _wait(self) -> None:
        self.began.set()
        assert self.go.wait(60)
        if self.error is not None:
            raise self.error


def on_thread(call, *args, **kwargs):
    """Make a call on a thread of its own; return the thread, and the list to which its result or error is added."""
    results: list[object] = []

    def run():
        try:
            results.append(call(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results
