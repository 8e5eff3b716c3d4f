"""solo-learn's habit: `python scripts/main_knn.py RUN --k 1,20,200`; runs `dyntemp knn`."""

import sys

from solo_registry.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "knn")
    main()
