"""Type checkers see through `cached`: parameters and results keep their types, and wrong calls are errors."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT

SAMPLE = Path(__file__).with_name("sample_types.py")
EXPECTED = {
    number: line.partition("  # ")[2]
    for number, line in enumerate(SAMPLE.read_text().splitlines(), start=1)
    if "  # " in line
}


def test_mypy_says_what_it_should(tmp_path):
    """Each line of the sample is found to be of the type, or to hold the mistake, that is written beside it."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", str(SAMPLE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    said = {}
    lines = r"^\S*sample_types\.py:(\d+): (error|note): (.*)$"
    for number, kind, what in re.findall(lines, done.stdout, flags=re.MULTILINE):
        if kind == "error":
            said[int(number)] = f"error: {what}"
        elif what.startswith("Revealed type is"):
            said.setdefault(int(number), what.removeprefix("Revealed type is ").strip('"'))
    assert said.keys() == EXPECTED.keys(), done.stdout + done.stderr
    for number, expected in EXPECTED.items():
        assert said[number].startswith(expected), f"line {number}: {said[number]}"
