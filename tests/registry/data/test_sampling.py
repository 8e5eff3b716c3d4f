import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from solo_registry.data.augment import Views
from solo_registry.data.sampling import EpochSampler, PretrainSet, ResumableLoader
from solo_registry.data.sets import TensorSet

MakeNoise = Callable[..., TensorSet]
Pipeline = Callable[..., dict[str, Any]]


def order(epoch: int = 0, length: int = 40, **kwargs: int) -> list[int]:
    sampler = EpochSampler(length, **{"seed": 0, **kwargs})
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert {number for number, _ in drawn} == {epoch} and len(drawn) == len(sampler)
    return [index for _, index in drawn]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_an_epoch_visits_each_index_once(world_size: int) -> None:
    shares = [order(rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(itertools.chain(*shares)) == list(range(40))


def test_ranks_get_equal_shares_of_what_they_do_not_divide() -> None:
    shares = [order(length=41, rank=rank, world_size=4) for rank in range(4)]
    assert [len(share) for share in shares] == [10] * 4
    assert len(set(itertools.chain(*shares))) == 40


def test_global_batches_do_not_depend_on_the_number_of_ranks() -> None:
    alone = order()
    pair = [order(rank=rank, world_size=2) for rank in range(2)]
    for step in range(5):
        together = {index for share in pair for index in share[4 * step : 4 * step + 4]}
        assert together == set(alone[8 * step : 8 * step + 8])


def test_order_is_a_function_of_seed_and_epoch() -> None:
    orders = [order(epoch, seed=seed) for seed in range(3) for epoch in range(3)]
    assert len({tuple(indices) for indices in orders}) == 9
    torch.manual_seed(123)
    assert order(2, seed=1) == orders[5]


def test_a_rank_outside_the_world() -> None:
    with pytest.raises(ValueError, match=r"rank must be in \[0, 2\), got 2"):
        EpochSampler(4, seed=0, rank=2, world_size=2)


def pretrain_set(noise: MakeNoise, simclr: Pipeline, seed: int = 0) -> PretrainSet:
    images = noise()
    return PretrainSet(images, Views([simclr()], images.info), seed)


def test_views_do_not_depend_on_what_was_drawn_before(noise: MakeNoise, simclr: Pipeline) -> None:
    first, second = (pretrain_set(noise, simclr) for _ in range(2))
    forwards = [first[(3, index)] for index in range(10)]
    torch.rand(5)
    backwards = [second[(3, index)] for index in reversed(range(10))][::-1]
    for (i, one, target), (j, other, same) in zip(forwards, backwards, strict=True):
        assert (i, target) == (j, same) and all(map(torch.equal, one, other))


def test_seed_epoch_and_index_each_change_the_views(noise: MakeNoise, simclr: Pipeline) -> None:
    images = noise(count=2)
    images.images[1] = images.images[0]
    views = Views([simclr()], images.info)
    drawn = [
        PretrainSet(images, views, seed)[(epoch, index)][1][number]
        for seed, epoch, index, number in itertools.product(range(2), repeat=4)
    ]
    different = {tuple(view.flatten().tolist()) for view in drawn}
    assert len(different) == 16


def test_global_random_states_are_left_alone(noise: MakeNoise, simclr: Pipeline) -> None:
    drawing = pretrain_set(noise, simclr)
    before = torch.get_rng_state(), random.getstate()
    for index in range(10):
        drawing[(0, index)]
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_nothing(noise: MakeNoise, simclr: Pipeline, workers: int) -> None:
    drawing = pretrain_set(noise, simclr)

    def batches(num_workers: int) -> list[Any]:
        sampler = EpochSampler(40, seed=0)
        return list(DataLoader(drawing, 8, sampler=sampler, num_workers=num_workers))

    for ours, theirs in zip(batches(0), batches(workers), strict=True):
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[2], theirs[2])
        assert all(map(torch.equal, ours[1], theirs[1]))


def test_the_random_state_of_an_epoch_does_not_depend_on_workers(
    noise: MakeNoise, simclr: Pipeline
) -> None:
    """A network with dropout draws from it, and a resumed run has started its workers anew."""

    def drawn(workers: int, epochs: tuple[int, ...]) -> Tensor:
        sampler = EpochSampler(40, seed=0)
        loader = ResumableLoader(
            pretrain_set(noise, simclr), batch_size=8, sampler=sampler, num_workers=workers,
            persistent_workers=workers > 0,
        )  # fmt: skip
        for epoch in epochs:
            torch.manual_seed(epoch)
            assert len(list(loader)) == 5
        return torch.rand(3)

    assert torch.equal(drawn(1, (0, 1)), drawn(0, (0, 1)))
    assert torch.equal(drawn(1, (0, 1)), drawn(1, (1,)))
