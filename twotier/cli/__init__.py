"""The `twotier` command (extra: cli)."""

import importlib
import sys


def main() -> None:
    """Run the command line; where typer or rich is missing, say what to install and exit with 2."""
    try:
        app = importlib.import_module("twotier.cli.app").app
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("twotier"):
            raise
        sys.exit(_missing(error.name))
    app()


def _missing(module: str | None) -> str:
    return f"the twotier command needs {module}, which isn't installed: pip install 'twotier[all]'"
