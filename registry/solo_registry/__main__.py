"""`python -m solo_registry`: the `dyntemp` command."""

from solo_registry.cli.main import main

if __name__ == "__main__":
    main()
