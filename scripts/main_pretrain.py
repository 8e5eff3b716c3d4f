"""solo-learn's habit: `python scripts/main_pretrain.py method=simclr_dyntemp data=cifar10`."""

import sys

from solo_registry.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "pretrain")
    main()
