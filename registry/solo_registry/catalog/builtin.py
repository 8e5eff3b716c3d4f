"""The names of our methods, losses, backbones and data sets; `Registry.get` imports them."""

from __future__ import annotations

from typing import NamedTuple

from solo_registry.catalog.registry import BACKBONES, DATASETS, LOSSES, METHODS


class Method(NamedTuple):
    """One of our methods: its name, its class, and what listings say about it.

    Attributes:
        name: as users write it.
        target: its class in the module of the same name, or `module:class`.
        summary: a few words.
        paper: number at arXiv.
        solo_keys: whether it has the name and the `method_kwargs` of solo-learn's method.
        lightly: what it takes from lightly: "loss", "modules" or both.
    """

    name: str
    target: str
    summary: str
    paper: str
    solo_keys: bool = False
    lightly: str = ""

    @property
    def origin(self) -> str:
        """What is not written here, as listings say it."""
        parts = (
            "solo-learn keys" if self.solo_keys else "",
            self.lightly and f"lightly {self.lightly}",
        )
        return ", ".join(filter(None, parts))


# fmt: off
METHOD_FAMILIES = {
    "contrastive": (
        Method("simclr", "SimCLR", "two or more views, NT-Xent at one temperature", "2002.05709",
               solo_keys=True),
        Method("mocov2plus", "MoCoV2Plus", "momentum encoder, queue of negatives", "2003.04297",
               solo_keys=True),
        Method("mocov3", "MoCoV3", "momentum encoder, predictor, no queue", "2104.02057",
               solo_keys=True, lightly="modules"),
        Method("nnclr", "NNCLR", "nearest neighbours in a queue as positives", "2104.14548",
               solo_keys=True, lightly="modules"),
        Method("all4one", "All4One", "attention over neighbours, decorrelation", "2303.09417",
               solo_keys=True, lightly="modules"),
        Method("dcl", "DCL", "SimCLR, positive not in the denominator", "2110.06848",
               lightly="loss"),
        Method("dclw", "dcl:DCLW", "DCL with weighted positives", "2110.06848", lightly="loss"),
        Method("supcon", "SupCon", "images of one class as positives; needs labels", "2004.11362",
               solo_keys=True),
        Method("supcon_out", "SupConOut", "SupCon, mean outside the logarithm", "2004.11362"),
        Method("debiased", "Debiased", "corrects for own-class negatives", "2007.00224"),
        Method("hcl", "debiased:HCL", "debiased, hard negatives weighted up", "2010.04592"),
        Method("rince", "RINCE", "InfoNCE, robust to noisy views", "2201.04309"),
        Method("siglip", "SigLIP", "a sigmoid per pair, scale and bias trained", "2303.15343"),
        Method("directclr", "DirectCLR", "SimCLR on the features, no projector", "2110.09348"),
    ),
    "non-contrastive": (
        Method("byol", "BYOL", "predicts a momentum encoder's other view", "2006.07733",
               solo_keys=True, lightly="loss and modules"),
        Method("nnbyol", "NNBYOL", "BYOL, neighbours in a queue as targets", "2104.14548",
               solo_keys=True, lightly="loss and modules"),
        Method("simsiam", "SimSiam", "predicts the other view, stop-gradient", "2011.10566",
               solo_keys=True, lightly="loss and modules"),
        Method("nnsiam", "NNSiam", "SimSiam, neighbours in a queue as targets", "2104.14548",
               solo_keys=True, lightly="loss and modules"),
        Method("barlow_twins", "BarlowTwins", "decorrelates features", "2103.03230",
               solo_keys=True, lightly="loss and modules"),
        Method("vicreg", "VICReg", "invariance, variance, covariance", "2105.04906",
               solo_keys=True, lightly="loss and modules"),
        Method("vibcreg", "VIbCReg", "VICReg with a normalised covariance", "2109.00783",
               solo_keys=True),
        Method("wmse", "WMSE", "distance of whitened views", "2007.06346",
               solo_keys=True, lightly="loss and modules"),
        Method("vicregl", "VICRegL", "VICReg on pooled features and on two kinds of local pairs",
               "2210.01571",
               lightly="loss and modules"),
        Method("tico", "TiCo", "contrast with a moving covariance", "2206.10698",
               lightly="loss and modules"),
        Method("mmcr", "MMCR", "capacity of the views' manifolds, nuclear norms", "2303.03307",
               lightly="modules"),
        Method("frossl", "FroSSL", "entropy of the covariance, Frobenius norms", "2310.02903",
               lightly="loss and modules"),
        Method("lejepa", "LeJEPA", "invariance and Gaussian projections", "2511.08544",
               lightly="loss and modules"),
    ),
    "clustering": (
        Method("swav", "SwAV", "views predict each other's balanced clusters", "2006.09882",
               solo_keys=True, lightly="loss and modules"),
        Method("deepclusterv2", "DeepClusterV2", "k-means of all images each epoch", "2006.09882",
               solo_keys=True, lightly="modules"),
    ),
    "distillation": (
        Method("dino", "DINO", "momentum teacher's sharpened, centred outputs", "2104.14294",
               solo_keys=True, lightly="loss"),
        Method("ressl", "ReSSL", "relations to a queue follow a momentum teacher's", "2107.09282",
               solo_keys=True),
    ),
    "masked": (
        Method("mae", "MAE", "reconstructs hidden patches; needs a ViT", "2111.06377",
               solo_keys=True, lightly="modules"),
    ),
}
# fmt: on
for family, methods in METHOD_FAMILIES.items():
    for method in methods:
        own = "" if ":" in method.target else f"{method.name}:"
        METHODS.add_lazy(
            method.name,
            f"solo_registry.methods.{own}{method.target}",
            summary=method.summary,
            paper=f"arXiv {method.paper}",
            family=family,
            origin=method.origin,
        )

for name, summary, paper in (
    ("infonce", "NT-Xent over any number of views, one temperature", "2002.05709"),
    ("infonce_paired", "each anchor against all candidates, one temperature", "2104.02057"),
    ("infonce_queue", "a positive key and a queue of negatives, one temperature", "1911.05722"),
    ("supcon_out", "images of one class as positives, mean outside the logarithm", "2004.11362"),
    ("debiased_infonce", "corrects for own-class negatives; HCL with beta", "2007.00224"),
    ("rince", "robust to noisy views, from InfoNCE (q=0) to symmetric (q=1)", "2201.04309"),
    ("sigmoid_pairs", "a sigmoid for each pair of two views", "2303.15343"),
    ("mmcr", "nuclear norm of the images' centroids", "2303.03307"),
):
    LOSSES.add_lazy(name, f"solo_registry.losses:{name}", summary=summary, paper=f"arXiv {paper}")

for name, summary, paper in (
    ("resnet10_narrow", "ResNet-10 with half the channels, for a laptop", "1512.03385"),
    ("resnet18_narrow", "ResNet-18 with half the channels, for a laptop", "1512.03385"),
    ("resnet18", "ResNet-18, 3x3 stem up to 64 pixels", "1512.03385"),
    ("resnet50", "ResNet-50, 3x3 stem up to 64 pixels", "1512.03385"),
    ("wide_resnet28w2", "WideResNet-28-2, for images of 32 pixels", "1605.07146"),
    ("wide_resnet28w8", "WideResNet-28-8, for images of 32 pixels", "1605.07146"),
    *((f"vit_{size}", f"ViT-{size}, patches fit the image", "2010.11929")
      for size in ("tiny", "small", "base", "large")),
    *((f"swin_{size}", f"Swin-{size}, patches fit the image", "2103.14030")
      for size in ("tiny", "small", "base", "large")),
    *((f"poolformer_{size}", f"PoolFormer-{size}", "2111.11418")
      for size in ("s12", "s24", "s36", "m36", "m48")),
    *((f"convnext_{size}", f"ConvNeXt-{size}", "2201.03545")
      for size in ("tiny", "small", "base", "large")),
):  # fmt: skip
    BACKBONES.add_lazy(
        name, f"solo_registry.backbones:{name}", summary=summary, paper=f"arXiv {paper}"
    )

# keys of `data` that a set does not use
HF = "name image_column label_column streaming=True shuffle_window"
FOLDERS = f"train_split {HF}"
TINY = f"{FOLDERS} format=h5"
STL = f"class_list format=h5 {HF}"
ARRAYS = f"train_split {STL}"
for name, module, unread, summary, paper in (
    ("digits", "arrays", ARRAYS, "1,797 grey 8x8 digits, shipped with scikit-learn", ""),
    ("fashion_mnist", "arrays", ARRAYS, "70,000 grey 28x28 clothes, 10 classes", "1708.07747"),
    ("cifar10", "arrays", ARRAYS, "60,000 color 32x32 images, 10 classes", ""),
    ("cifar100", "arrays", ARRAYS, "60,000 color 32x32 images, 100 classes", ""),
    ("stl10", "arrays", STL, "113,000 color 96x96 images, 10 classes, most unlabelled", ""),
    ("tiny_imagenet", "imagenet", TINY, "110,000 color 64x64 images, 200 classes", ""),
    ("imagenet100", "imagenet", FOLDERS, "ImageNet, the 100 classes of your data.class_list", ""),
    ("imagenet", "imagenet", FOLDERS, "1,331,167 color images, 1,000 classes", "1409.0575"),
    ("custom", "custom", FOLDERS, "your own image folders, with or without labels", ""),
    ("hf", "hf", "class_list format=h5", "Parquet, Arrow, tar shards or a set of the hub", ""),
):
    DATASETS.add_lazy(
        name,
        f"solo_registry.data.{module}:{name}",
        summary=summary,
        paper=f"arXiv {paper}" if paper else "",
        unread=unread,
    )
