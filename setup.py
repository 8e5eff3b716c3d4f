"""Packaging: two source roots, plugin/ and registry/, and the Hydra configs inside the packages."""

from pathlib import Path

from setuptools import find_packages, setup

CONFIGS = {
    "solo_registry.configs": "configs/registry",
    "solo_dyntemp.configs": "configs/plugin",
    "solo_dyntemp.solo_configs": "configs/solo_learn",
}
# what the `dyntemp` command and `import dyntemp` need; the losses need torch alone
BENCH = [
    "torchvision>=0.25",
    "lightning>=2.6.6",  # 2.6.2 and 2.6.3 are malicious, others run code of a checkpoint
    "timm>=1.0.31",  # older ones unpickle checkpoints, or give Swin no small crops
    "hydra-core>=1.3.8",  # before: more ways from a `_target_` to running code
    "torchmetrics>=1.4",
    "lightly>=1.6,<2",
    "scikit-learn>=1.4.2",
    "joblib>=1.3",
    "scipy>=1.13",
    "pandas>=2.2.2",
    "pydantic>=2.9",
    "jinja2>=3.1.6",
    "matplotlib>=3.10.7",
    "pyarrow>=16",
    "safetensors>=0.4",
    "rich>=13.8",
    "typer>=0.26",
    "packaging>=23",
    "filelock>=3.30",  # SoftFileLease
]
DALI = "nvidia-dali-cuda130>=2.4; sys_platform == 'linux'"
TENSORBOARD = "tensorboard>=2.17.1"  # older ones use names that NumPy 2 has removed
DOCS = ["sphinx>=8.1,<10", "myst-parser>=4,<6", "furo>=2024.8.6"]
EXTRAS = {  # each holds the bench as well
    "bench": [],
    "docs": DOCS,
    "dali": [DALI],
    "h5": ["h5py>=3.11"],
    "hf": ["datasets>=5"],
    "tensorboard": [TENSORBOARD],
    "onnx": ["onnx>=1.18", "onnxscript>=0.6.2"],  # older ones lack torch 2.15's interface
    "umap": ["umap-learn>=0.5.12"],
    "wandb": ["wandb>=0.20.1"],  # 0.17 with NumPy 2 breaks `import timm`
    "joblib": ["hydra-joblib-launcher>=1.2"],
    "submitit": ["hydra-submitit-launcher>=1.2"],
    "ray": ["ray>=2.60", "hydra-ray-launcher>=1.2.2"],
    "sweep": ["optuna>=5"],
    "page": ["vl-convert-python>=1.9"],  # figures of a report that react
    "recipes": ["pytorch-metric-learning>=2.9", "sentence-transformers>=6"],  # docs/recipes.md
    "test": [
        *DOCS,
        "black==26.3.1",  # solo-learn's formatter, for what goes there
        "mypy==2.4.1",
        "pandas-stubs",
        "pylint==4.1.4",
        "scipy-stubs",
        "pytest>=9",
        "pytest-xdist>=3.6",
        "pytest-cov>=7",  # for `make test-all`
        "nbclient>=0.10",  # runs the notebooks; ipykernel is the Python that it runs them with
        "ipykernel>=6.29",
        "h5py>=3.11",
        "datasets>=5",
        "hypothesis>=6.100",
        DALI,
        "ruff==0.17.6",
        TENSORBOARD,
        "hydra-joblib-launcher>=1.2",
        "hydra-submitit-launcher>=1.2",
        "optuna>=5",
        "vl-convert-python>=1.9",
    ],
}

setup(
    name="solo-dyntemp",
    version="0.1.0",
    description="Similarity-dependent temperature (DySTreSS) for solo-learn, compared fairly",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    package_dir={
        "dyntemp": "registry/dyntemp",
        "solo_registry": "registry/solo_registry",
        "solo_dyntemp": "plugin/solo_dyntemp",
        "hydra_plugins.solo_dyntemp": "plugin/hydra_plugins/solo_dyntemp",
        **CONFIGS,
    },
    packages=[
        *find_packages("registry"),
        *find_packages("plugin"),
        "hydra_plugins.solo_dyntemp",  # a namespace package of Hydra's, so without __init__.py
        *CONFIGS,
    ],
    package_data={
        "": ["py.typed", "*.jinja"],
        "solo_dyntemp.upstream": ["templates/**/*"],  # no packages: files for a clone
        **{package: ["**/*.yaml"] for package in CONFIGS},
    },
    # before 2.10: torch.load(weights_only=True) could run code or corrupt memory
    install_requires=["torch>=2.10"],
    extras_require={name: [*BENCH, *more] for name, more in EXTRAS.items()},
    entry_points={
        "console_scripts": ["dyntemp = solo_registry.__main__:main"],
        "solo_registry.plugins": ["dyntemp = solo_dyntemp.plugin:register"],
    },
)
