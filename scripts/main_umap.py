"""solo-learn's habit: `python scripts/main_umap.py RUN`; runs `dyntemp evaluate RUN --map umap`."""

import sys

from solo_registry.__main__ import main

if __name__ == "__main__":
    sys.argv[1:] = ["evaluate", *sys.argv[1:], "--map", "umap"]
    main()
