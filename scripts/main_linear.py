"""solo-learn's habit: `python scripts/main_linear.py RUN --epochs 90`; runs `dyntemp linear`."""

import sys

from solo_registry.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "linear")
    main()
