"""The Python interface: `import dyntemp`. The commands do the same."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solo_registry.paths import as_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from PIL import Image
    from rich.console import Console
    from torch import Tensor, nn

    from solo_registry.inference.encoder import Encoder
    from solo_registry.inference.files import Source
    from solo_registry.runs.loaded_run import LoadedRun


PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")  # text that Hydra takes without quotes
KEYWORDS = {"true", "false", "null", "inf", "nan"}


class Run:
    """A run on disk. Made by `pretrain` and `Run.open`.

    Args:
        path: the run folder.
        device: where features are computed; a GPU if there is one, by default.
    """

    def __init__(self, path: str | Path, device: str | None = None) -> None:
        self.path = Path(path)
        self.device = device

    @classmethod
    def open(
        cls, name: str | Path, runs_dir: str | Path = "runs", device: str | None = None
    ) -> Run:
        """Open a run by its path, or by the beginning of its path or hash.

        Raises:
            UserError: no run, or several, begin so.
        """
        from solo_registry.runs.find import find_run

        return cls(find_run(name, runs_dir), device)

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json: settings, protocols, and the numbers under "results".

        Raises:
            UserError: the run is not finished, or its result is damaged.
        """
        from solo_registry.errors import UserError

        result = self._loaded.folder.read_result()
        if result is None:
            raise UserError(f"{self.path} has no result yet: the run is not finished or measured")
        return result

    @property
    def metrics(self) -> pd.DataFrame:
        """A row per epoch: losses, learning rate, online accuracies (`metrics.csv`)."""
        import pandas as pd

        return pd.read_csv(self._loaded.folder.metrics)

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        from omegaconf import OmegaConf

        content: Any = OmegaConf.to_container(self._loaded.cfg)
        return dict(content)

    @property
    def pictures(self) -> list[Path]:
        """The run's pictures."""
        return sorted(self._loaded.folder.plots.glob("*.png"))

    def backbone(self) -> nn.Module:
        """Return the trained backbone: preprocessed images (N, C, H, W) -> features (N, D)."""
        return self._encoder.backbone()

    def preprocess(self, image: str | Path | Image.Image | np.ndarray[Any, Any] | Tensor) -> Tensor:
        """Return the backbone's input (C, H, W) for an image; see `Encoder.preprocess`."""
        return self._encoder.preprocess(image)

    def embed(self, images: Source) -> pd.DataFrame:
        """Compute the features of image files.

        Args:
            images: a folder, of which all images at any depth are taken; a file; or several files.

        Returns:
            A row per file, named by its path; columns `feat_0` to `feat_<D-1>`, float32.

        Raises:
            UserError: a path that does not exist, or no image that can be read.
        """
        import pandas as pd

        from solo_registry.inference.files import find_images

        found = self._encoder.embed(find_images(images), self._console)
        columns = [f"feat_{number}" for number in range(found.feats.shape[1])]
        index = pd.Index(found.files.texts, name="path")
        return pd.DataFrame(found.feats.numpy(), index=index, columns=columns)

    def predict(self, images: Source, by: str = "probe", k: int | None = None) -> pd.DataFrame:
        """Predict the class of image files; see `solo_registry.inference.predict`.

        Args:
            images: as in `embed`.
            by: "probe", or "knn" for the nearest training images, which must then be there.
            k: number of neighbours for "knn".
        """
        from solo_registry.inference.files import find_images
        from solo_registry.inference.predict import classify_files

        found = self._encoder.embed(find_images(images), self._console)
        return classify_files(self._encoder, found, self._console, by, k)

    def neighbours(
        self,
        image: str | Path,
        k: int = 8,
        among: Source | None = None,
        out: str | Path | None = None,
    ) -> pd.DataFrame:
        """Find the images nearest to an image, by the cosine similarity of their features.

        Args:
            image: a file.
            k: how many.
            among: where to search; None means the run's training images.
            out: path of a picture to draw.

        Returns:
            A row per neighbour, nearest first: `name`, `label`, `similarity`.
        """
        import pandas as pd

        from solo_registry.inference.neighbours import nearest_images

        query, found = nearest_images(self._encoder, image, self._console, k, among)
        if out is not None:
            from solo_registry.plots.neighbours import neighbours_picture

            texts = [f"{each.similarity:.3f} {each.label}".strip() for each in found]
            images = [each.image for each in found]
            pairs = list(zip(images, texts, strict=True))
            neighbours_picture(query, pairs, out, title=as_text(Path(image).name))
        rows = [(each.name, each.label, each.similarity) for each in found]
        return pd.DataFrame(rows, columns=["name", "label", "similarity"])

    @functools.cached_property
    def _loaded(self) -> LoadedRun:
        from solo_registry.runs.loaded_run import LoadedRun

        return LoadedRun(self.path)

    @functools.cached_property
    def _encoder(self) -> Encoder:
        from solo_registry.inference.encoder import Encoder

        return Encoder(self._loaded, self.device)

    @functools.cached_property
    def _console(self) -> Console:
        from solo_registry.console import quiet_libraries, terminal

        quiet_libraries()
        return terminal()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """Show the run in a notebook: a table of its numbers and the picture of the training."""
        return run_html(self)


def pretrain(*overrides: str | Mapping[str, Any], **keys: Any) -> Run:
    """Train a run, or go on with it, then measure it. The same settings give the same run.

    >>> run = pretrain("method=simclr_dyntemp", data="photos", max_epochs=20)  # doctest: +SKIP

    Args:
        *overrides: KEY=VALUE as on the command line, or mappings from keys with dots to values,
            such as `{"optimizer.lr": 0.1}`.
        **keys: keys without dots. `data` may be the path of a folder of images.

    Returns:
        The run.

    Raises:
        UserError: a setting or data that cannot work, before training starts.
    """
    from solo_registry.console import quiet_libraries

    quiet_libraries()  # before they are imported
    from solo_registry.config.compose import compose_config
    from solo_registry.jobs.pretrain import pretrain as train

    words: list[str] = []
    for given in (*overrides, keys):
        words += [given] if isinstance(given, str) else [_word(*item) for item in given.items()]
    return Run(train(compose_config(words)).path)


def runs(runs_dir: str | Path = "runs") -> pd.DataFrame:
    """List the runs under a folder, newest first; see `dyntemp runs`."""
    from solo_registry.runs.listing import list_runs

    return list_runs(Path(runs_dir))


def _word(key: str, value: Any) -> str:
    """Write a key and its Python value as an override.

    >>> _word("devices", [0, 1]), _word("name", "a, b"), _word("data.val_path", None)
    ('devices=[0,1]', "name='a, b'", 'data.val_path=null')
    """
    return f"{key}={_spelled(value)}"


def _spelled(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_spelled(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_spelled, value))}]"
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        if PLAIN.fullmatch(text) and text.lower() not in KEYWORDS:
            return text
        from solo_registry.config.overrides import in_quotes

        return in_quotes(text)
    return repr(value)


def run_html(run: Run) -> str:
    """Return what a notebook shows of a run."""
    import base64
    import html

    from solo_registry.plots.tables import result_html

    head = f"<code>{html.escape(str(run.path))}</code>"
    result = run._loaded.folder.read_result()
    if result is None:
        return f"{head}: no result yet"
    parts = [head, result_html(result["results"], result["test_images"], result["split"])]
    for picture in run.pictures:
        if picture.stem in ("training", "features"):
            content = base64.b64encode(picture.read_bytes()).decode()
            parts.append(
                f'<img alt="{picture.stem}" style="max-width: 48em" '
                f'src="data:image/png;base64,{content}">'
            )
    return "\n".join(parts)
