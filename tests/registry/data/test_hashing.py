import numpy as np
import pytest
import torch

from solo_registry.data.hashing import mix, uniforms


def test_mix_separates_purposes_and_neighbours() -> None:
    numbers = [mix(p, a, b) for p in (b"x", b"y") for a in range(-8, 8) for b in range(16)]
    assert len(set(numbers)) == len(numbers) and min(numbers) >= 0 and max(numbers) < 2**63
    ones = torch.tensor([[number >> bit & 1 for bit in range(63)] for number in numbers])
    assert (ones.double().mean(0) - 0.5).abs().max() < 0.12


def test_uniforms_are_uniform_and_unrelated() -> None:
    drawn = uniforms(mix(b"views", 0, 0, 0), range(4000), 20)
    assert drawn.min() >= 0 and drawn.max() < 1
    # the variance of 80,000 uniform numbers, and correlations of 4,000: five standard deviations
    assert drawn.mean() == pytest.approx(0.5, abs=5 * (1 / 12 / drawn.size) ** 0.5)
    assert drawn.var() == pytest.approx(1 / 12, abs=5 * (1 / 180 / drawn.size) ** 0.5)
    related = np.corrcoef(drawn.T) - np.eye(20)
    assert np.abs(related).max() < 5 / 4000**0.5
    neighbours = np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]
    assert abs(neighbours) < 5 / drawn.size**0.5
    assert len(np.unique(drawn)) == drawn.size


def test_uniforms_depend_on_key_index_and_column_alone() -> None:
    whole = uniforms(5, range(10), 8)
    assert (uniforms(5, [7, 2], 3) == whole[[7, 2], :3]).all()
    assert not (uniforms(6, range(10), 8) == whole).any()


def test_large_keys_and_indexes() -> None:
    assert np.isfinite(uniforms(2**63 - 1, [0, 2**40], 2)).all()
