"""The `dyntemp` command, also as `python -m solo_registry`."""

from __future__ import annotations

import sys

from solo_registry.errors import MissingBench, require_bench


def main() -> None:
    """Run the command. If the extra `bench` is missing, say so in one line and exit with 2."""
    try:
        from solo_registry.cli.main import main as command

        command()
    except ModuleNotFoundError:
        try:
            require_bench("the command dyntemp")
        except MissingBench as missing:
            print(f"error: {missing}", file=sys.stderr)
            raise SystemExit(2) from None
        raise


if __name__ == "__main__":
    main()
