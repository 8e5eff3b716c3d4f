"""Loaders on NVIDIA DALI, for image files and for sets in memory, on a CPU or a GPU.

DALI's own random operators and readers are not used. `sampling` selects the images, `draws` draws
how each is shown, and the graph (`dali_graph`) receives both as inputs. So DALI has no state that a
resumed run could lack, and the views are those of the other loaders.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_registry.config.data_schema import AugmentationConfig
from solo_registry.data import dali_graph
from solo_registry.data.augment import EVAL_MARGIN, View, Views
from solo_registry.data.draws import Array, Draws, center_boxes, crops_of, plain
from solo_registry.data.folder import FolderSet
from solo_registry.data.pixels import for_dali
from solo_registry.data.sampling import EpochLoader, EpochSampler, LoaderBatch, Work
from solo_registry.data.sets import ImageSet, TensorSet
from solo_registry.errors import UserError

Draw = Callable[[int, list[int], Array], list[Draws]]
Encoded = tuple[bytes, tuple[int, int]]  # a file for DALI, the image's height and width
Made = tuple[list[int], list[Tensor], list[Draws]]  # a batch's indexes, views, and their draws

AHEAD = 2  # batches that DALI prepares while the model computes


class DaliViews:
    """Makes views of images with DALI.

    Args:
        images: a set in memory, a folder, or any other set. Another set decodes its own images.
        views: what to show of each image.
        batch_size: largest number of images in a batch.
        threads: of the CPU.
        device: where the views are made.
    """

    def __init__(
        self,
        images: ImageSet,
        views: list[View],
        batch_size: int,
        threads: int,
        device: torch.device,
    ) -> None:
        self.dali = dali_graph.import_dali()
        self.images, self.views = images, views
        self.batch_size, self.threads, self.device = batch_size, max(1, threads), device
        self.encoded = isinstance(images, FolderSet)
        self.pipe: Any = None
        self.readers = ThreadPoolExecutor(self.threads)
        self.by_pillow: set[int] = set()  # files that DALI cannot decode and Pillow can

    def make(self, work: Iterable[Work], draw: Draw) -> Iterator[Made]:
        """Yield the indexes, the views and the draws of each batch.

        Args:
            work: (epoch, indexes) of each batch.
            draw: a function (epoch, indexes, sizes) -> draws of every view.

        Raises:
            UserError: a file cannot be read, and `data.on_error` is "raise".
        """
        todo, pending = iter(work), deque[tuple[Work, list[Draws]]]()
        self.pipe = self.pipe or self._build()
        pipe, self.pipe = self.pipe, None  # an abandoned iterator leaves a pipe that is not usable
        while True:
            for epoch, indexes in todo:
                drawn = self._feed(pipe, indexes, partial(draw, epoch, indexes))
                pending.append(((epoch, indexes), drawn))
                if len(pending) > AHEAD:
                    break
            if not pending:
                break
            try:
                outputs = pipe.outputs()
            except RuntimeError as error:
                again = [one for one, _ in pending]
                self._work_around(again, error)
                todo, pending = iter([*again, *todo]), deque()
                pipe = self._build()
                continue
            (_, indexes), drawn = pending.popleft()
            yield indexes, [self._tensor(output) for output in outputs], drawn
        self.pipe = pipe

    def shown(self, indexes: list[int]) -> list[int]:
        """Return the images that were shown for `indexes`; an unreadable image was replaced."""
        if not isinstance(self.images, FolderSet) or not self.images.unreadable:
            return indexes
        return [next(self.images.candidates(index), index) for index in indexes]

    def _build(self) -> Any:
        fn, types = self.dali.fn, self.dali.types
        pipe = self._pipeline(self.batch_size)
        with pipe:
            x = fn.external_source(name="images", **({} if self.encoded else {"layout": "HWC"}))
            if self.encoded:
                x = self._decoded(x)
                if self.images.info.channels == 1:
                    x = fn.color_space_conversion(x, image_type=types.RGB, output_type=types.GRAY)
            elif self.device.type == "cuda":
                x = x.gpu()
            nodes = []
            for number, view in enumerate(self.views):
                names = dali_graph.feeds(view, plain(np.zeros((0, 4), np.int64)))
                given = {name: fn.external_source(name=f"{name}{number}") for name in names}
                nodes.append(dali_graph.graph(view, x, given))
            pipe.set_outputs(*nodes)
        pipe.build()
        return pipe

    def _pipeline(self, batch_size: int) -> Any:
        return self.dali.Pipeline(
            batch_size=batch_size,
            num_threads=self.threads,
            device_id=self.device.index or 0 if self.device.type == "cuda" else None,
            prefetch_queue_depth=1,  # `make` works ahead itself
        )

    def _decoded(self, x: Any) -> Any:
        """Return the node that decodes the bytes of node `x`, always to RGB."""
        return self.dali.fn.decoders.image(
            x,
            device="mixed" if self.device.type == "cuda" else "cpu",
            output_type=self.dali.types.RGB,
            adjust_orientation=False,  # `for_dali` has done it
        )

    def _feed(
        self, pipe: Any, indexes: list[int], draw: Callable[[Array], list[Draws]]
    ) -> list[Draws]:
        pixels, sizes = self._read(indexes)
        every = draw(sizes)
        pipe.feed_input("images", pixels, **({} if self.encoded else {"layout": "HWC"}))
        for number, (view, drawn) in enumerate(zip(self.views, every, strict=True)):
            for name, values in dali_graph.feeds(view, drawn).items():
                pipe.feed_input(f"{name}{number}", np.ascontiguousarray(values))
        pipe.schedule_run()
        return every

    def _read(self, indexes: list[int]) -> tuple[Any, Array]:
        """Return the input that DALI gets for the images, and their heights and widths."""
        if isinstance(self.images, TensorSet):
            pixels = self.images.images[indexes].permute(0, 2, 3, 1).contiguous().numpy()
            return pixels, np.tile(pixels.shape[1:3], (len(indexes), 1))
        if isinstance(self.images, FolderSet):
            # in threads, because files that DALI cannot decode are decoded here
            read = list(self.readers.map(partial(self._file, self.images), self.shown(indexes)))
            for place, index in enumerate(indexes):
                if isinstance(read[place], Exception):
                    read[place] = self._stand_in(self.images, index)
            files, sizes = zip(*read, strict=True)
            return [np.frombuffer(file, np.uint8) for file in files], np.array(sizes)
        shown = [self.images[index][0].permute(1, 2, 0).contiguous().numpy() for index in indexes]
        return shown, np.array([image.shape[:2] for image in shown])

    def _file(self, images: FolderSet, index: int) -> Encoded | Exception:
        """Return a file's bytes, height and width, or the exception that reading them raised."""
        try:
            return for_dali(images.content(index), index in self.by_pillow)
        except Exception as error:  # Pillow raises whatever it meets in broken bytes
            return error

    def _stand_in(self, images: FolderSet, index: int) -> Encoded:
        """Return `_file` of the next readable image; call `refuse` for the unreadable ones."""
        for candidate in images.candidates(index):
            read = self._file(images, candidate)
            if not isinstance(read, Exception):
                return read
            images.refuse(candidate, read)
        raise UserError(f"no image in {images.root} can be read")

    def _work_around(self, pending: Iterable[Work], error: RuntimeError) -> None:
        """Find the files that made DALI fail; skip them, or let Pillow decode them."""
        images = self.images
        if not isinstance(images, FolderSet):
            raise error
        indexes = sorted({index for _, indexes in pending for index in indexes})
        before = len(images.unreadable)
        for index in indexes:
            images.check(index)
        if len(images.unreadable) > before:
            return
        found = [
            index
            for index in self.shown(indexes)
            if index not in self.by_pillow and not self._decodes(images, index)
        ]
        if not found:
            raise UserError(
                f"DALI cannot make views of the images of {images.root}: "
                f"{str(error).splitlines()[-1]}. data.format=image_folder does not use DALI"
            ) from error
        if not self.by_pillow:
            warnings.warn(
                f"DALI cannot read {images.path(found[0])}; Pillow can, and decodes this file and "
                "others like it",
                stacklevel=2,
            )
        self.by_pillow |= {*found}

    def _decodes(self, images: FolderSet, index: int) -> bool:
        """Whether DALI decodes an image by itself."""
        content, _ = for_dali(images.content(index))
        alone = self._pipeline(1)
        with alone:
            alone.set_outputs(self._decoded(self.dali.fn.external_source(name="images")))
        alone.build()
        alone.feed_input("images", [np.frombuffer(content, np.uint8)])
        try:
            alone.schedule_run()
            alone.outputs()
        except RuntimeError:
            return False
        return True

    def _tensor(self, output: Any) -> Tensor:
        """Copy an output out of DALI's memory, which the next batch will overwrite."""
        from nvidia.dali.plugin.pytorch import feed_ndarray

        dense = output.as_tensor()
        copy = torch.empty(dense.shape(), dtype=torch.float32, device=self.device)
        stream = torch.cuda.current_stream(self.device) if copy.is_cuda else None
        feed_ndarray(dense, copy, cuda_stream=stream)
        return copy


class DaliLoader(EpochLoader):
    """Yields training batches made by DALI.

    Args:
        images: the images.
        views: what to show of each.
        seed: the run's seed.
        sampler: which images come when; it shards by global rank.
        batch_size: images per batch.
        threads: of the CPU.
        device: where the views are made.
        crops: whether a batch also has the crops of its views, `crops_of` (N, V, 5).
    """

    def __init__(
        self,
        images: ImageSet,
        views: Views,
        seed: int,
        *,
        sampler: EpochSampler,
        batch_size: int,
        threads: int,
        device: torch.device,
        crops: bool = False,
    ) -> None:
        super().__init__(sampler, batch_size)
        self.views, self.seed, self.targets, self.crops = views, seed, images.targets, crops
        self.dali = DaliViews(images, views.views, batch_size, threads, device)

    def batches(self, work: Iterator[Work]) -> Iterator[LoaderBatch]:
        """Yield the batches of `work`."""

        def draw_train(epoch: int, indexes: list[int], sizes: Array) -> list[Draws]:
            return self.views.draw(self.seed, epoch, indexes, sizes)

        for indexes, views, drawn in self.dali.make(work, draw_train):
            targets = self.targets[self.dali.shown(indexes)]
            more = [torch.from_numpy(crops_of(drawn))] if self.crops else []
            yield [torch.tensor(indexes), views, targets, *more]


class DaliEvalLoader:
    """Yields batches (X, y) made by DALI, in order. Nothing is random and nothing is dropped.

    Args:
        images: the images.
        crop_size: height and width of X, in pixels.
        batch_size: images per batch; the last one may be smaller.
        threads: of the CPU.
        device: where X is made.
        indices: which images.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        crop_size: int,
        batch_size: int,
        threads: int,
        device: torch.device,
        indices: Iterable[int],
    ) -> None:
        order = list(indices)
        starts = range(0, len(order), batch_size)
        self.work = [(0, order[start : start + batch_size]) for start in starts]
        self.targets = images.targets
        self.share = 1 if images.info.image_size else 1 / EVAL_MARGIN
        view = View(AugmentationConfig(crop_size=crop_size), images.info)
        self.dali = DaliViews(images, [view], batch_size, threads, device)

    def __len__(self) -> int:
        return len(self.work)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield X, float32 (N, C, crop_size, crop_size), and y, int64 (N,)."""

        def draw_center(_: int, __: list[int], sizes: Array) -> list[Draws]:
            return [plain(center_boxes(sizes, self.share))]

        for indexes, (X,), _ in self.dali.make(self.work, draw_center):
            yield X, self.targets[self.dali.shown(indexes)]
