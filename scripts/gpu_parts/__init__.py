"""The parts of scripts/gpu_check.py, one module each, in the order of their worth."""
