"""SimCLR with a temperature that follows each pair's similarity, in plain PyTorch.

Learns features of scikit-learn's 8x8 digits without labels, then measures them with a kNN
classifier beside those of the untrained encoder. On a CPU this takes less than a minute:

    python examples/simclr_dyntemp.py
"""

import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torchvision.transforms import v2

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.temperature import CosineTemperature

# 1. Data: 1,437 training images and 360 test images, as tensors of shape (N, 1, 8, 8) in [0, 1].
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
train_images, test_images = images[:1437], images[1437:]
train_labels, test_labels = digits.target[:1437], digits.target[1437:]

# 2. Views: each call cuts another random part out of the image.
augment = v2.RandomResizedCrop(8, scale=(0.6, 1.0), ratio=(0.9, 1.1))


def make_encoder() -> nn.Module:
    """Build a small convolutional network: images (N, 1, 8, 8) to features (N, 64)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


@torch.no_grad()
def knn_accuracy(encoder: nn.Module) -> float:
    """Return the accuracy in percent of a kNN classifier on the encoder's features."""
    encoder.eval()
    knn = KNeighborsClassifier(n_neighbors=20, metric="cosine", weights="distance")
    knn.fit(encoder(train_images), train_labels)
    return 100 * knn.score(encoder(test_images), test_labels)


def main(epochs: int = 20, batch_size: int = 128, seed: int = 0) -> tuple[float, float]:
    """Train; return the kNN accuracy of the untrained and of the trained encoder."""
    torch.manual_seed(seed)
    encoder = make_encoder()
    projector = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *projector.parameters()], lr=3e-3)
    # 3. The temperature: tau_max for opposite and for equal views, tau_min at similarity 0.
    temperature = CosineTemperature(tau_min=0.1, tau_max=0.2)
    untrained = knn_accuracy(encoder)

    for epoch in range(epochs):
        encoder.train()
        for batch in torch.randperm(len(train_images)).split(batch_size):
            # 4. Two views of each image. `indexes` tells the loss which rows are the same image.
            indexes = batch.repeat(2)
            views = torch.stack([augment(train_images[index]) for index in indexes])
            # 5. The loss normalises the projections and draws the views of one image together.
            loss = dyntemp_infonce(projector(encoder(views)), indexes, temperature=temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}/{epochs}: loss {loss.item():.3f}")

    trained = knn_accuracy(encoder)
    print(f"kNN accuracy: untrained encoder {untrained:.1f} %, trained encoder {trained:.1f} %")
    return untrained, trained


if __name__ == "__main__":
    main()
