"""Runs programs that the console shows, as they are, and prints the ids that each found: {"PROGRAM": [ID, ...]}.

usage: console_samples.py FILE...
"""

import json
import runpy
import sys
from pathlib import Path

from versions import listed_hits

print(
    json.dumps(
        {Path(file).stem: [id for id, _, _ in listed_hits(runpy.run_path(file)["result"])] for file in sys.argv[1:]}
    )
)
