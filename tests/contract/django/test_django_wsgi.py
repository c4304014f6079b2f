"""A Django project under gunicorn, loaded before its workers are forked: what people get who open its pages."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

HERE = Path(__file__).parent
PATIENCE = 15.0


class Site(contextlib.AbstractContextManager):
    """The project, served by two preforked workers of four threads each on a unix socket."""

    def __init__(self, folder: Path, location: str) -> None:
        self._address = str(folder / "site.sock")
        self._log = folder / "gunicorn.log"
        environ = {
            "PROJECT_CACHE": location,
            "PROJECT_DATABASE": str(folder / "site.sqlite3"),
            "PYTHONWARNINGS": "always::ResourceWarning",
        }
        command = ["gunicorn", "--preload", "--workers=2", "--threads=4", "--bind", f"unix:{self._address}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command, "--chdir", HERE, "project.wsgi"], env=environ, stdout=log, stderr=log
            )

    def get(self, path: str, **query) -> dict:
        """Return what the page at `path` answers; any status but 200 fails."""
        connection = http.client.HTTPConnection("site", timeout=PATIENCE)
        with socket.socket(socket.AF_UNIX) as connection.sock:
            connection.sock.settimeout(PATIENCE)
            connection.sock.connect(self._address)
            connection.request("GET", f"/{path}?{urlencode(query)}", headers={"Connection": "close"})
            reply = connection.getresponse()
            body = reply.read()
        assert reply.status == 200, self.log
        return json.loads(body)

    def get_from(self, pid: int, path: str, **query) -> dict:
        """Return what worker `pid` answers, asking until it is the one that does."""
        return until(lambda: self.get(path, **query), lambda answer: answer["pid"] == pid)

    def workers(self) -> list[int]:
        """Return the process ids of both workers, once both have a live link and nothing left to replay."""
        seen = set()

        def look():
            with contextlib.suppress(OSError):
                state = self.get("state")
                if state["settled"]:
                    seen.add(state["pid"])
            return seen

        return sorted(until(look, lambda pids: len(pids) == 2))

    @property
    def log(self) -> str:
        """What gunicorn and the project wrote."""
        return self._log.read_text()

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(PATIENCE)


def until(look, holds):
    """Return what `look` gives once `holds` is true of it."""
    deadline = time.monotonic() + PATIENCE
    while not holds(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.01)
    return seen


@pytest.fixture
def site(own_server, tmp_path):
    """The project, running on a server that the test may kill."""
    with Site(tmp_path, own_server.url) as running:
        running.workers()
        yield running
    assert "Traceback" not in running.log, running.log
    assert "ResourceWarning" not in running.log, running.log


def test_a_write_in_one_worker_is_seen_by_the_other(site):
    """A worker that holds a value in memory drops it when the other writes."""
    one, two = site.workers()
    for round_ in range(3):
        site.get_from(one, "write", key="shared", value=f"v{round_}")
        until(lambda: site.get_from(two, "read", key="shared"), lambda answer, now=f"v{round_}": answer["value"] == now)
    assert site.get_from(one, "read", key="preloaded")["value"] is not None


def test_threads_of_a_worker_share_one_local_tier(site):
    """Backends are made a thread, caches are not; two aliases of one LOCATION and OPTIONS share theirs as well."""
    pid = site.workers()[0]
    answers = []

    def look():
        seen = list(clients.map(site.get, ["state"] * 8))  # at once, so that several threads are needed
        answers.extend(answer for answer in seen if answer["pid"] == pid)
        return {answer["thread"] for answer in answers}

    with ThreadPoolExecutor(8) as clients:
        until(look, lambda threads: len(threads) > 1)
    assert len({answer["cache"] for answer in answers}) == 1
    assert all(answer["one_for_both"] for answer in answers)


def test_pages_answer_while_the_server_is_killed_and_are_fresh_after(site, own_server):
    """With the server gone every page still answers 200, with what was cached; once it is back, writes reach all."""
    one, two = site.workers()
    site.get("write", key="hot", value="before")
    for pid in (one, two):
        until(lambda pid=pid: site.get_from(pid, "read", key="hot"), lambda answer: answer["value"] == "before")
    own_server.kill()
    for _ in range(30):
        assert site.get("read", key="hot")["value"] == "before"
        site.get("page")
    opened = site.get("session/cached_db", value="in the database")
    assert site.get("session/cached_db", key=opened["key"])["value"] == "in the database"
    site.get_from(one, "write", key="hot", value="during")
    assert site.get_from(one, "read", key="hot")["value"] == "during"
    own_server.start()
    site.workers()
    site.get_from(one, "write", key="hot", value="after")
    for pid in (one, two):
        until(lambda pid=pid: site.get_from(pid, "read", key="hot"), lambda answer: answer["value"] == "after")


def test_cache_page_and_sessions(site):
    """A page cached by one worker is served by the other; sessions are kept by both cache engines."""
    made = {site.get("page")["made"] for _ in range(10)}
    assert len(made) == 1
    for engine in ("cache", "cached_db"):
        opened = site.get(f"session/{engine}", value=engine)
        for pid in site.workers():
            assert site.get_from(pid, f"session/{engine}", key=opened["key"])["value"] == engine


def test_closing_every_backend_leaves_the_site_working(site):
    """`caches.all()` closes without an error, and what comes after finds the cache open."""
    assert site.get("close")["value"] == 1
