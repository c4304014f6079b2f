"""`twotier/_speedups.pyi` is the contract of the compiled module and of its twin: the same names and signatures."""

import ast
import importlib
import inspect
from types import SimpleNamespace

import pytest
from project import ROOT

STUB = ast.parse((ROOT / "twotier" / "_speedups.pyi").read_text())
TWINS = {"compiled": ("twotier._speedups",), "python": ("twotier.local.twin", "twotier.codec._fallback")}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def stub_members() -> dict[str, ast.stmt]:
    """Return every class, function, method and property of the stub by its dotted name."""
    found: dict[str, ast.stmt] = {}
    for node in STUB.body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = node
            found |= {f"{node.name}.{part.name}": part for part in node.body if isinstance(part, Function)}
        elif isinstance(node, Function):
            found[node.name] = node
    return found


MEMBERS = stub_members()
FUNCTIONS = {name: node for name, node in MEMBERS.items() if isinstance(node, Function)}


def is_property(node: Function) -> bool:
    return any(ast.unparse(decorator) == "property" for decorator in node.decorator_list)


def module_of(names: tuple[str, ...]) -> SimpleNamespace:
    """Return what these modules have, as one."""
    found: dict[str, object] = {}
    for name in names:
        found |= vars(importlib.import_module(name))
    return SimpleNamespace(**found)


@pytest.fixture(params=TWINS, scope="module")
def twin(request):
    """What the modules of one twin have."""
    return module_of(TWINS[request.param])


def find(module, name: str):
    """Return the object under a dotted name, as it lies in its class."""
    owner, _, attribute = name.rpartition(".")
    return inspect.getattr_static(getattr(module, owner) if owner else module, attribute)


def signature(node: Function) -> list[tuple[str, str, str]]:
    """Return (name, kind, default) of each parameter in the stub."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    kinds = ["POSITIONAL_ONLY"] * len(arguments.posonlyargs) + ["POSITIONAL_OR_KEYWORD"] * len(arguments.args)
    found = [(a.arg, kind, default) for a, kind, default in zip(positional, kinds, defaults, strict=True)]
    found += [(a.arg, "KEYWORD_ONLY", d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [(name, kind, repr(ast.literal_eval(d)) if d is not None else "") for name, kind, d in found]


@pytest.mark.parametrize("name", MEMBERS)
def test_both_twins_have_what_the_stub_names(twin, name):
    """Each name of the stub is there, and is what the stub says: a class, a property, a function."""
    node, found = MEMBERS[name], find(twin, name)
    if isinstance(node, ast.ClassDef):
        assert inspect.isclass(found)
    elif is_property(node):
        assert isinstance(found, property) or inspect.isdatadescriptor(found)
    else:
        assert callable(found)


@pytest.mark.parametrize("name", [n for n, node in FUNCTIONS.items() if ".__" not in n and not is_property(node)])
def test_signatures_are_the_stubs(twin, name):
    """Parameters have the stub's names, kinds and defaults (slots as `__len__` have the language's own)."""
    expected = signature(FUNCTIONS[name])
    parameters = inspect.signature(find(twin, name)).parameters.values()
    told = []
    for parameter, (_, _, default) in zip(parameters, expected, strict=True):
        given = "" if parameter.default is parameter.empty else repr(parameter.default)
        kind = "POSITIONAL_OR_KEYWORD" if parameter.name == "self" else parameter.kind.name
        told.append((parameter.name, kind, default if given and default == "Ellipsis" else given))
    assert told == expected


def test_stores_are_made_alike():
    """Of the twins' constructors only the Python one can be looked at: it is the stub's."""
    parameters = inspect.signature(module_of(TWINS["python"]).Store).parameters
    assert list(parameters) == [name for name, _, _ in signature(FUNCTIONS["Store.__init__"])][1:]


def test_the_twins_have_nothing_else(twin):
    """What isn't in the stub isn't public."""
    for name in (name for name, node in MEMBERS.items() if isinstance(node, ast.ClassDef)):
        public = {attribute for attribute in vars(getattr(twin, name)) if not attribute.startswith("_")}
        assert public == {n.partition(".")[2] for n in MEMBERS if n.startswith(f"{name}.") and "._" not in n}


@pytest.mark.parametrize("name", [name for name in MEMBERS if "._" not in name])
def test_everything_is_documented(twin, name):
    """The stub has a docstring on every public part, and the twins on every class and function."""
    node, found = MEMBERS[name], find(twin, name)
    assert ast.get_docstring(node), f"{name} has no docstring in the stub"
    assert found.__doc__ or not callable(found), f"{name} has no docstring"
