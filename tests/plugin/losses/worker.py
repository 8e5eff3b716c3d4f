"""The processes of a distributed run: each computes every case on its share and saves the results.

Called as: TRITON_INTERPRET=1 worker.py WORLD FOLDER. The processes are forks of one, since to
import torch and Triton takes longest. The test computes the same on the whole batch; it cannot
interpret Triton's kernels and takes the dense one instead, in double.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from solo_dyntemp.losses import (
    DynTempNTXentLoss,
    dyntemp_dcl,
    dyntemp_infonce,
    dyntemp_infonce_queue,
    dyntemp_paired,
    dyntemp_supcon,
)
from solo_dyntemp.temperature import (
    CosineTemperature,
    ISogCLRTemperature,
    MACLTemperature,
    ShiftedCosineTemperature,
    build_temperature,
    temperature_keywords,
)

IMAGES, WIDTH = 12, 5  # images of the global batch; 12 is divided by 2 and 4 processes
COSINE = CosineTemperature(0.1, 0.2)


# every temperature that a similarity alone does not decide, beside MACL and iSogCLR; `shuffled`
# rotates the candidates in their order, which the number of processes changes
FAMILY = (
    "adnce", "class_frequency", "dual_constant", "dual_temperature", "glofnd", "learnable", "mm_ts",
    "rgcl_g", "same_class", "spline", "tempnet", "uncertainty",
)  # fmt: skip
WITH_STATE = ("glofnd", "isogclr", "rgcl_g", "tempnet")
OPTIONS = {"glofnd": {"start": 0.0, "alpha": 0.3, "eta": 0.5}, "tempnet": {"dropout": 0.0}}


def built(name):
    """Return a new temperature; its random parameters are the same each time."""
    torch.manual_seed(1)
    needs = {"size": IMAGES, "dimension": WIDTH}
    given = {key: needs[key] for key in temperature_keywords(name) if key in needs}
    temperature = build_temperature(name, **given, **OPTIONS.get(name, {}))
    temperature.use_labels(torch.arange(IMAGES) % 3)
    return temperature.double() if isinstance(temperature, torch.nn.Module) else temperature


def infonce(views, **options):
    """Rows (images, views, width) of this process and the images' numbers, to a loss."""
    options.setdefault("temperature", COSINE)

    def loss(x, images):
        z = x[:, :views].transpose(0, 1).flatten(0, 1)
        return dyntemp_infonce(z, images.repeat(views), **options)

    return loss


def queue(x, images):
    keys = torch.linspace(-1, 1, WIDTH * 9, dtype=x.dtype).view(WIDTH, 9).sin()
    return dyntemp_infonce_queue(x[:, 0], x[:, 1], keys, temperature=COSINE)


def queue_macl(x, images):
    keys = torch.linspace(-1, 1, WIDTH * 9, dtype=x.dtype).view(WIDTH, 9).sin()
    return dyntemp_infonce_queue(x[:, 0], x[:, 1], keys, temperature=MACLTemperature())


def cases():
    """Return every loss by name; temperatures with state are new in each call."""
    both = ("dense", "tiled")
    table = {
        f"infonce {views} {implementation} {detach}": infonce(
            views, implementation=implementation, detach_temperature=detach
        )
        for views in (2, 6)
        for implementation in both
        for detach in (True, False)
    }
    for implementation in both:
        shifted = ShiftedCosineTemperature(0.1, 0.2)
        table[f"shifted {implementation}"] = infonce(
            2, temperature=shifted, implementation=implementation
        )
        table[f"macl {implementation}"] = infonce(
            2, temperature=MACLTemperature(), implementation=implementation
        )
        for sigma in (None, 0.5):
            table[f"dcl {sigma} {implementation}"] = lambda x, images, s=sigma, i=implementation: (
                dyntemp_dcl(x[:, 0], x[:, 1], temperature=COSINE, sigma=s, implementation=i)
            )
        for symmetric in (False, True):
            table[f"paired {symmetric} {implementation}"] = (
                lambda x, images, s=symmetric, i=implementation: dyntemp_paired(
                    x[:, 0], x[:, 1], temperature=COSINE, symmetric=s, implementation=i
                )
            )
    for form in ("in", "out"):  # three classes, spread over the processes
        table[f"supcon {form}"] = lambda x, images, f=form: dyntemp_supcon(
            x[:, :2].flatten(0, 1),
            (images % 3).repeat_interleave(2),
            temperature=COSINE,
            form=f,
        )
        # classes 4 to 7 have one row each, so processes have different numbers of anchors
        table[f"supcon alone {form}"] = lambda x, images, f=form: dyntemp_supcon(
            x[:, 0], images % 8, temperature=COSINE, form=f
        )
    table["ntxent gathered"] = lambda x, images: DynTempNTXentLoss(COSINE, gather_distributed=True)(
        x[:, 0], x[:, 1]
    )
    # a padded sampler shows an image on several processes
    table["repeated images"] = lambda x, images: dyntemp_infonce(
        x[:, :2].flatten(0, 1), (images % 5).repeat_interleave(2), temperature=COSINE
    )
    # views of the first and the last image are on different processes, the others' are not
    table["split images"] = lambda x, images: dyntemp_infonce(
        x[:, :2].flatten(0, 1), split(images), temperature=COSINE
    )
    for views in (2, 6):
        table[f"triton {views}"] = lambda x, images, v=views: by_triton(
            lambda **options: infonce(v, **options), x, images
        )
    table["triton dcl"] = lambda x, images: by_triton(
        lambda **options: lambda x, _: dyntemp_dcl(x[:, 0], x[:, 1], temperature=COSINE, **options),
        x,
        images,
    )
    table["queue"], table["queue macl"] = queue, queue_macl
    table["isogclr"] = infonce(2, temperature=ISogCLRTemperature(IMAGES).double())
    table |= {f"temperature {name}": infonce(2, temperature=built(name)) for name in FAMILY}
    return table


def by_triton(form, x, images):
    """Return a loss by Triton where that runs, in float32, else by the reference."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return form(implementation="triton")(x.float(), images)
    return form(implementation="dense")(x, images)


def split(images):
    """Swap a view of the first image of the global batch with one of the last."""
    _, everyone = batch()
    first, last = int(everyone[0]), int(everyone[-1])
    indexes = images.repeat_interleave(2)
    if first in images:
        indexes[(indexes == first).nonzero()[0]] = last + IMAGES
    if last in images:
        indexes[(indexes == last).nonzero()[0]] = last + IMAGES
    indexes[indexes == last] = first
    return indexes


def batch():
    """Return the global batch, (IMAGES, 6 views, WIDTH), and the images' numbers."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(IMAGES, 6, WIDTH, dtype=torch.float64, generator=generator)
    return x, torch.randperm(IMAGES, generator=generator)


def value_and_gradient(loss, x, images):
    leaf = x.clone().requires_grad_()
    value = loss(leaf, images)
    value.backward()
    return value.detach(), leaf.grad


def ddp_gradient(x, images):
    """Return the gradient of a layer under DistributedDataParallel."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(WIDTH, WIDTH, dtype=torch.float64)
    if dist.is_initialized():
        layer = torch.nn.parallel.DistributedDataParallel(layer)
    infonce(2)(layer(x), images).backward()
    return next(layer.parameters()).grad


def state(name, x, images):
    """Return the state after three steps, the second with images that several processes show."""
    temperature = built(name)
    for step, shown in enumerate((images, images % 5, images)):
        loss = infonce(2, temperature=temperature)
        loss((x + step * x.cos()).requires_grad_(), shown)
    return temperature.state_dict()


def local_and_bank(x, images):
    """Return NT-Xent without gathering, and the bank after two steps with it, from equal banks."""
    local = DynTempNTXentLoss(COSINE)(x[:, 0], x[:, 1])
    bank = DynTempNTXentLoss(COSINE, (2 * IMAGES, WIDTH), gather_distributed=True).double()
    bank.bank.fill_(1.0)
    for view in (1, 2):
        bank(x[:, 0].clone().requires_grad_(), x[:, view])
    return local, bank.bank


def unequal_message(rank):
    """Return what a process is told when rank 0 brings one image more."""
    x = torch.ones(4 if rank == 0 else 3, 6, WIDTH)
    try:
        infonce(2)(x, torch.arange(len(x)))
    except ValueError as error:
        return str(error)
    return ""


def work(rank, world, folder):
    """Be one process of the group."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=world
    )
    x, images = (part.chunk(world)[rank] for part in batch())
    table = cases()
    results = {name: value_and_gradient(loss, x, images) for name, loss in table.items()}
    results["ddp"] = ddp_gradient(x, images)
    results |= {f"{name} state": state(name, x, images) for name in WITH_STATE}
    results["local and bank"] = local_and_bank(x, images)
    results["unequal"] = unequal_message(rank)
    torch.save(results, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def main():
    world, folder = int(sys.argv[1]), Path(sys.argv[2])
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=work, args=(rank, world, folder)) for rank in range(world)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    sys.exit(any(rank.exitcode for rank in ranks))


if __name__ == "__main__":
    main()
