"""Build of the compiled local tier, and where packages lie; everything else is declared in pyproject.toml.

Two environment variables change the build:

- `TWOTIER_COMPILE=required` makes a failed compilation an error, as well as what newer compilers refuse. Without it the
  package installs all the same, and the pure-Python twin serves.
- `TWOTIER_DEBUG=1` keeps assertions and debug symbols, in Cython (`assert`) and in C (`TWOTIER_DEBUG`, `assert()`).
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

required = os.environ.get("TWOTIER_COMPILE") == "required"
debug = os.environ.get("TWOTIER_DEBUG") == "1"

if sys.platform == "win32":
    flags = ["/Od", "/Zi"] if debug else ["/O2"]
elif debug:
    flags = ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer"]
else:
    # A write is many small functions; by its own measure GCC calls a third of them. (Other compilers ignore --param.)
    bounds = {"max-inline-insns-single": 1000, "inline-unit-growth": 300, "large-function-growth": 1000}
    flags = ["-O3", *(f"--param={name}={most}" for name, most in bounds.items())]
if required and sys.platform != "win32":
    # What newer compilers refuse (GCC from 14 on, Clang from 16 on), every compiler refuses where compiling is a must:
    # elsewhere it would be found by users, as a package without its extension.
    refused = ("incompatible-pointer-types", "int-conversion", "implicit-function-declaration", "implicit-int")
    flags += [f"-Werror={warning}" for warning in refused]


class BuildOrLeaveOut(build_ext):
    """Compile; where that fails and may, leave nothing of an earlier build, and make the distribution a pure one.

    Otherwise a package would hold an extension of other sources, or be a wheel for one platform without a reason.
    """

    def run(self) -> None:
        """Remove what an earlier build has left, compile, and look what came of it."""
        made = [Path(self.get_ext_fullpath(extension.name)) for extension in self.extensions]
        packages = self.get_finalized_command("build_py")
        in_place = [Path(packages.get_package_dir("twotier")) / path.name for path in made]
        for path in (*made, *in_place):
            path.unlink(missing_ok=True)
        super().run()
        if not any(path.exists() for path in (*made, *in_place)):
            self.distribution.ext_modules = []
            wheel = self.distribution.get_command_obj("bdist_wheel", create=False)
            if wheel is not None:
                wheel.root_is_pure = True


django = ["twotier.django", *(f"twotier.django.{name}" for name in find_packages("django_integration"))]

setup(
    packages=[*find_packages(include=["twotier", "twotier.*"]), *django],
    package_dir={"twotier.django": "django_integration"},
    ext_modules=[
        Extension(
            "twotier._speedups",
            ["_speedups/_speedups.pyx"],
            depends=sorted(map(str, Path("_speedups").glob("*.px*"))),
            define_macros=[("TWOTIER_DEBUG", "1")] if debug else [("CYTHON_WITHOUT_ASSERTIONS", "1")],
            extra_compile_args=flags,
            # Without a C compiler the build goes on, and the Python twin serves.
            optional=not required,
        )
    ],
    # An extension left from another kind of build (debug or not) looks up to date by its age alone.
    cmdclass={"build_ext": BuildOrLeaveOut},
    options={"build_ext": {"force": True}},
)
