"""What the documents show is run, and what is public is documented."""

import doctest
import importlib
import re
import subprocess
import sys
from typing import get_type_hints

import pytest
from project import ROOT, modules

import twotier
from twotier import WriteBehindOptions
from twotier.load_policy import LoadPolicy
from twotier.options import Options, OptionsDict

README = (ROOT / "README.md").read_text()
DESIGN = (ROOT / "docs" / "design.md").read_text()
PATTERNS = (ROOT / "docs" / "patterns.md").read_text()
WITH_EXAMPLES = [name for name, path in modules().items() if ">>> " in path.read_text()]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(text: str) -> list[str]:
    """Return the Python code blocks of a document."""
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def run(code: str, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, where warnings are errors, and give its output."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        input=code,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
        **options,
    )


def test_the_readmes_example_says_what_it_should(tmp_path):
    """The example of ten lines works as a script."""
    done = run(blocks(README)[0], "-", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "{'name': 'Ada', 'roles': ('admin', 'staff')}",
        "499500",
        "1 11",
        "dict_keys(['user:7'])",
        "closed 2",
    ]


def test_the_readmes_example_can_be_pasted(tmp_path):
    """The example of ten lines works line by line, at the prompt."""
    done = run(blocks(README)[0], "-i", "-q", cwd=tmp_path)
    assert "Error" not in done.stderr
    assert "499500" in done.stdout


def test_the_readmes_asynchronous_example_works(tmp_path):
    """It says what it should, and leaves nothing behind."""
    done = run(blocks(README)[1], "-", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "499500\n499500\n", "")


def test_the_readmes_cached_function_says_what_it_should(tmp_path):
    """The example of a cached function works as a script."""
    done = run(blocks(README)[3], "-", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["{'id': 7} {'id': 7}", "True", "{'id': 7} 2"]


def test_the_readmes_django_settings_work(tmp_path):
    """The settings shown for Django make a working default cache (here on a server of its own)."""
    pytest.importorskip("django")
    settings = blocks(README)[2]
    assert settings.startswith("CACHES = {")
    code = f"""
{settings}
CACHES["default"]["LOCATION"] = "embedded://"
from django.conf import settings
settings.configure(CACHES=CACHES, SECRET_KEY="for tests alone")
from django.core.cache import cache
cache.set("key", (1, [2]))
print(cache.get("key"))
"""
    done = run(code, "-", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "(1, [2])\n"


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_in_docstrings_run(module):
    """An example in a docstring gives what it shows."""
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted
    assert not result.failed, "the differences are in the captured output"


@pytest.mark.parametrize("number", range(len(blocks(DESIGN))))
def test_the_design_pages_code_runs(number, tmp_path):
    """Code on the design page runs."""
    done = run(blocks(DESIGN)[number], "-", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", range(len(blocks(PATTERNS))))
def test_the_code_of_the_page_on_patterns_runs(number, tmp_path):
    """Code on the page about patterns runs."""
    done = run(blocks(PATTERNS)[number], "-", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", twotier.__all__)
def test_public_names_are_documented(name):
    """Every public name is on the design page, and has a docstring."""
    assert re.search(rf"`[^`]*\b{name}\b[^`]*`|^from twotier import .*\b{name}\b", DESIGN, flags=re.MULTILINE)
    assert getattr(twotier, name).__doc__


def test_the_keyword_form_of_options_is_options():
    """`OptionsDict`, which types keyword settings, has the fields and the types of `Options`."""
    assert get_type_hints(OptionsDict) == get_type_hints(Options)


def test_options_are_documented():
    """The design page's table has every option, in order, and nothing else."""
    table = DESIGN.partition("### Options")[2].partition("###")[0]
    own = [name for name in Options.__dataclass_fields__ if name not in LoadPolicy.__dataclass_fields__]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == [*own, *LoadPolicy.__dataclass_fields__]


def test_the_options_of_write_behind_are_documented():
    """The table on the page about patterns has every option, in order, with its default."""
    fields = WriteBehindOptions.__dataclass_fields__.values()
    shown = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PATTERNS, flags=re.MULTILINE)
    assert [(name, eval(given.replace(" ", "_"))) for name, given in shown] == [
        (one.name, one.default) for one in fields
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    """A relative link in a document names a file that is there."""
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_decisions_have_a_table_of_contents():
    """DECISIONS.md's table links each of its sections, in order, by the anchor that its heading has."""
    text = (ROOT / "DECISIONS.md").read_text()
    sections = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    listed = re.findall(r"^\| \[(.+?)\]\(#(.+?)\) \|", text, flags=re.MULTILINE)
    assert listed == [(each, each.lower().replace(" ", "-")) for each in sections]
