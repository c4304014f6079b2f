"""Build of the compiled local tier; everything else is declared in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "twotier._speedups",
            ["_speedups/_speedups.pyx"],
            # Without a C compiler the build goes on, and the Python twin serves.
            optional=True,
        )
    ]
)
