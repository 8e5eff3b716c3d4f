"""What ships with the registry, by name; nothing is imported until it is asked for."""

from __future__ import annotations

from solo_registry.registry import BACKBONES, DATASETS, LOSSES, METHODS

for name, target, summary, paper in (
    ("simclr", "simclr:SimCLR", "two or more views, NT-Xent at one temperature", "2002.05709"),
    ("mocov2plus", "mocov2plus:MoCoV2Plus", "momentum encoder, queue of negatives", "2003.04297"),
    ("mocov3", "mocov3:MoCoV3", "momentum encoder, predictor, no queue", "2104.02057"),
    ("nnclr", "nnclr:NNCLR", "nearest neighbours in a queue as positives", "2104.14548"),
    ("dcl", "dcl:DCL", "SimCLR without the positive in the denominator", "2110.06848"),
    ("dclw", "dcl:DCLW", "DCL with weighted positives", "2110.06848"),
    ("supcon", "supcon:SupCon", "images of one class as positives; needs labels", "2004.11362"),
    ("byol", "byol:BYOL", "predicts a momentum encoder's other view", "2006.07733"),
    ("nnbyol", "nnbyol:NNBYOL", "BYOL, neighbours in a queue as targets", "2104.14548"),
    ("simsiam", "simsiam:SimSiam", "predicts the other view, stop-gradient", "2011.10566"),
    ("nnsiam", "nnsiam:NNSiam", "SimSiam, neighbours in a queue as targets", "2104.14548"),
    ("barlow_twins", "barlow_twins:BarlowTwins", "decorrelates features", "2103.03230"),
    ("vicreg", "vicreg:VICReg", "invariance, variance, covariance", "2105.04906"),
    ("vibcreg", "vibcreg:VIbCReg", "VICReg with a normalised covariance", "2109.00783"),
    ("wmse", "wmse:WMSE", "distance of whitened views", "2007.06346"),
    ("swav", "swav:SwAV", "views predict each other's balanced clusters", "2006.09882"),
    (
        "deepclusterv2",
        "deepclusterv2:DeepClusterV2",
        "k-means over all images each epoch",
        "2006.09882",
    ),
    ("dino", "dino:DINO", "momentum teacher's sharpened, centred outputs", "2104.14294"),
    ("ressl", "ressl:ReSSL", "relations to a queue follow a momentum teacher's", "2107.09282"),
    ("all4one", "all4one:All4One", "neighbours, attention over them, decorrelation", "2303.09417"),
    ("mae", "mae:MAE", "reconstructs hidden patches; needs a ViT", "2111.06377"),
    ("supcon_out", "supcon_out:SupConOut", "SupCon, mean outside the logarithm", "2004.11362"),
    ("debiased", "debiased:Debiased", "takes the own class out of the negatives", "2007.00224"),
    ("hcl", "debiased:HCL", "debiased, hard negatives weighted up", "2010.04592"),
    ("rince", "rince:RINCE", "InfoNCE that bears noisy views", "2201.04309"),
    ("siglip", "siglip:SigLIP", "a sigmoid for each pair, scale and bias trained", "2303.15343"),
    (
        "directclr",
        "directclr:DirectCLR",
        "SimCLR on the features, no projector",
        "2110.09348",
    ),
):
    METHODS.add_lazy(
        name, f"solo_registry.methods.{target}", summary=summary, paper=f"arXiv {paper}"
    )

for name, summary, paper in (
    ("infonce", "NT-Xent over any number of views, one temperature", "2002.05709"),
    ("infonce_paired", "each anchor against all candidates, one temperature", "2104.02057"),
    ("infonce_queue", "a positive key and a queue of negatives, one temperature", "1911.05722"),
    ("supcon_out", "labels make the positives, mean outside the logarithm", "2004.11362"),
    ("debiased_infonce", "own class taken out of the negatives; HCL with beta", "2007.00224"),
    ("rince", "bears noisy views, from InfoNCE (q=0) to symmetric (q=1)", "2201.04309"),
    ("sigmoid_pairs", "a sigmoid for each pair of two views", "2303.15343"),
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

for name, module, summary, paper in (
    ("digits", "arrays", "1,797 grey 8x8 digits, shipped with scikit-learn", ""),
    ("fashion_mnist", "arrays", "70,000 grey 28x28 clothes, 10 classes", "arXiv 1708.07747"),
    ("cifar10", "arrays", "60,000 color 32x32 images, 10 classes", ""),
    ("cifar100", "arrays", "60,000 color 32x32 images, 100 classes", ""),
    ("stl10", "arrays", "113,000 color 96x96 images, 10 classes, most unlabelled", ""),
    ("custom", "folder", "your own image folders, with or without labels", ""),
):
    DATASETS.add_lazy(name, f"solo_registry.data.{module}:{name}", summary=summary, paper=paper)
