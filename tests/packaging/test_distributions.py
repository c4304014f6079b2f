"""What a release consists of installs, imports and works away from the repository, with and without a C compiler."""

import sys
import sysconfig
import tarfile
import zipfile

import pytest

pytestmark = pytest.mark.timeout(600)

TELL = """
import importlib.util
import twotier, twotier.local
assert importlib.util.find_spec("twotier.django"), "twotier.django is missing"
with twotier.Cache() as cache:
    cache.set("key", (1, [2]))
    assert cache.get("key") == (1, [2])
    assert cache.health().compiled is twotier.local.COMPILED
print("compiled" if twotier.local.COMPILED else "python")
"""


def test_the_sdist_has_all_that_is_written(built):
    """Sources, tests and documents are in the sdist; what is generated isn't."""
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "_speedups/_speedups.pyx",
        "twotier/_speedups.pyi",
        "twotier/py.typed",
        "django_integration/__init__.py",
        "tests/conftest.py",
        "docs/design.md",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        ".ci/run",
    }
    assert wanted <= names
    assert not [name for name in names if name.endswith((".so", ".pyc", "_speedups.c"))]


def test_the_wheel_has_what_is_used(built):
    """Package, types and extension are in the wheel; sources of the extension and tests aren't."""
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    assert {"twotier/py.typed", "twotier/_speedups.pyi", "twotier/django/__init__.py"} <= names
    assert [name for name in names if name.startswith("twotier/_speedups.") and name.endswith(".so")]
    assert not [name for name in names if name.endswith((".pyx", ".pxi", ".c"))]
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"twotier"}


def test_the_wheel_works(built, environment):
    """Installed from the wheel, which was made of the sdist, with what it requires, the compiled local tier serves."""
    environment.install(str(built.wheel))
    assert environment.run(TELL) == "compiled\n"


def test_every_module_of_the_wheel_imports(built, environment):
    """With all extras (and pytest, for its plugin), every module imports, and the command starts."""
    environment.install(f"{built.wheel}[all]", "pytest")
    modules = environment.run(
        "import django.conf, importlib, pkgutil, twotier\n"
        "django.conf.settings.configure(SECRET_KEY='for tests alone')\n"
        "for module in pkgutil.walk_packages(twotier.__path__, 'twotier.'):\n"
        "    importlib.import_module(module.name); print(module.name)\n"
    )
    assert {"twotier.django", "twotier.cli", "twotier._speedups", "twotier.core.namespace.namespace"} <= set(
        modules.split()
    )
    assert "demo" in environment.run("from twotier.cli import main; import sys; sys.argv[1:] = ['--help']; main()")


def test_without_a_compiler_the_twin_serves(built, environment):
    """Where nothing can be compiled the sdist installs all the same; a warning says that the Python twin serves."""
    environment.install(str(built.sdist), CC="/bin/false", CFLAGS="")
    printed = environment.run(TELL)
    assert printed.splitlines()[-1] == "python"
    assert printed.count("RuntimeWarning: the compiled local tier of twotier is missing") == 1
    assert environment.run(TELL, TWOTIER_IMPL="python") == "python\n"


def test_a_failed_compilation_makes_a_pure_wheel(built, run, tmp_path):
    """A wheel without the extension is for any platform, and holds none that an earlier build has left."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (tree,) = tmp_path.glob("twotier-*")
    name = f"_speedups{sysconfig.get_config_var('EXT_SUFFIX')}"
    earlier = tree / "build" / f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}" / "twotier"
    earlier.mkdir(parents=True)
    for folder in (earlier, tree / "twotier"):
        (folder / name).write_bytes(b"of an earlier build")
    run([sys.executable, "-m", "build", "--wheel", "--outdir", "dist", "."], cwd=tree, CC="/bin/false", CFLAGS="")
    (wheel,) = (tree / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "twotier/local/twin/store.py" in names
    assert not [each for each in names if each.endswith(".so")]
    assert not (tree / "twotier" / name).exists()


def test_a_required_compilation_must_succeed(built, environment):
    """TWOTIER_COMPILE=required makes an error of it."""
    with pytest.raises(AssertionError, match="/bin/false"):
        environment.install(str(built.sdist), "--no-deps", CC="/bin/false", TWOTIER_COMPILE="required")


def test_a_required_compilation_refuses_what_newer_compilers_refuse(built, environment, tmp_path):
    """A pointer of another type is an error with any compiler; elsewhere it is the compiler's to judge."""
    careless = tmp_path / "careless.h"
    careless.write_text("static inline char *careless(int *number) { char *text = number; return text; }\n")
    with pytest.raises(AssertionError, match="incompatible"):
        environment.install(str(built.sdist), "--no-deps", CFLAGS=f"-include {careless}", TWOTIER_COMPILE="required")


def test_an_editable_install_works(built, environment, tmp_path):
    """From an unpacked sdist in place, as developers have it; with TWOTIER_DEBUG=1 assertions are in."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (tree,) = tmp_path.glob("twotier-*")
    environment.install("--editable", str(tree), TWOTIER_COMPILE="required", TWOTIER_DEBUG="1")
    assert environment.run(TELL) == "compiled\n"
    assert environment.run("import twotier; print(twotier.__file__)").startswith(str(tree))
