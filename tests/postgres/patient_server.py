"""`pinyon` whose start waits longer or shorter for its database: python -m tests.postgres.patient_server SECONDS ..."""

import sys
from functools import partial

from pinyon.cli.main import main
from pinyon.serving import lifecycle

if __name__ == "__main__":
    lifecycle.serve = partial(lifecycle.serve, patience_s=float(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
