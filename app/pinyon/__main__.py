"""`python -m pinyon` is the `pinyon` command."""

from pinyon.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
