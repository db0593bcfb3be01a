"""``python -m exporter`` is ``coc-exporter``."""

import sys

from exporter.cli import main

sys.exit(main())
