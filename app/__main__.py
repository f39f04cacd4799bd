"""`python -m app` is the `pinyon` command."""

from app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
