"""``python -m abbe`` is ``abbe``; ``accelerate launch -m abbe`` starts several processes."""

import sys

from abbe.start import main

if __name__ == "__main__":
    sys.exit(main())
