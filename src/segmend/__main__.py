"""``python -m segmend`` is ``segmend``."""

import sys

from segmend.cli import main

sys.exit(main())
