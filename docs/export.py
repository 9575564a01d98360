"""Trains a small PyTorch network on imbalanced classes and exports its last layer for `neural-collapse measure`.

    python3 docs/export.py FOLDER    # a minute

The last lines are all that a network of your own needs.
"""

import pathlib
import sys

import numpy
import torch

COUNTS = [600, 600, 300, 300, 100, 100, 40, 40]
WIDTH, LAYER_DECAY, FEATURE_DECAY = 64, 2e-3, 2e-3


class Network(torch.nn.Module):
    """A backbone, whose last layer gives features of either sign, and a linear head."""

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Sequential(
            torch.nn.Linear(20, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, WIDTH)
        )
        self.head = torch.nn.Linear(WIDTH, len(COUNTS))

    def forward(self, x):
        features = self.backbone(x)
        return self.head(features), features


def train(x, labels, steps=3000):
    """Full-batch Adam on the loss that the flags of `measure` name: MSELoss, weight decay, mean |h|^2."""
    model, targets = Network(), torch.nn.functional.one_hot(labels).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        outputs, features = model(x)
        loss = torch.nn.functional.mse_loss(outputs, targets)
        # An optimizer's weight_decay=LAYER_DECAY on the head's weights is the first of these, Adam's too; AdamW's is not.
        loss = loss + LAYER_DECAY / 2 * model.head.weight.square().sum()
        loss = loss + FEATURE_DECAY / 2 * features.square().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


def main():
    torch.manual_seed(0)
    # Matrices this small are faster on one core, and come out the same on every run.
    torch.set_num_threads(1)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    labels = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))
    x = torch.randn(len(COUNTS), 20)[labels] + 0.5 * torch.randn(len(labels), 20)
    model = train(x, labels)

    # Every training sample once, in any order: features are what the head reads.
    with torch.no_grad():
        features = model.backbone(x)
    numpy.save(folder / "W.npy", model.head.weight.detach().cpu())  # (classes, width)
    numpy.save(folder / "b.npy", model.head.bias.detach().cpu())
    numpy.save(folder / "H.npy", features.cpu())  # (samples, width)
    numpy.save(folder / "y.npy", labels.cpu())


if __name__ == "__main__":
    main()
