"""Trains a small network on scikit-learn's digits, with a long tail, and watches its last layer collapse.

    pip install torch scikit-learn matplotlib
    python digits.py                 # about a minute; writes digits.png
    python digits.py --epochs 20     # a short look

Squared loss with a penalty on the features: then the theory says where the last layer must end.
"""

import argparse

import ncollapse as nc
import numpy as np
import torch
from sklearn.datasets import load_digits

LAYER_DECAY, FEATURE_DECAY = 2e-3, 1e-3  # of MSELoss, and of the mean of |h|^2/2


def long_tail(ratio=10, seed=0):
    """The digits 0 to 9 with fewer and fewer samples, standardized."""
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    most = np.bincount(labels).min()
    counts = (most * ratio ** (-np.arange(10) / 9)).astype(int)
    kept = np.concatenate([rng.permutation(np.flatnonzero(labels == k))[: counts[k]] for k in range(10)])
    images = images[kept]
    images = (images - images.mean()) / images.std()
    return torch.tensor(images, dtype=torch.float32), torch.tensor(labels[kept])


class Network(torch.nn.Module):
    def __init__(self, width=64):
        super().__init__()
        layers = [torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU()]
        self.body = torch.nn.Sequential(*layers, torch.nn.Linear(256, width))
        self.fc = torch.nn.Linear(width, 10)

    def forward(self, images):
        self.features = self.body(images)
        return self.fc(self.features)


def train(epochs=600, every=20, seed=0):
    torch.manual_seed(seed)
    images, labels = long_tail()
    targets = torch.nn.functional.one_hot(labels, 10).float()
    model = Network()
    bodies = [parameter for name, parameter in model.named_parameters() if not name.startswith("fc")]
    # The weight decay of the head is that of the theory: its bias has none. The body is free.
    optimizer = torch.optim.Adam(
        [{"params": bodies}, {"params": [model.fc.weight], "weight_decay": LAYER_DECAY}, {"params": [model.fc.bias]}],
        lr=3e-3,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    monitor = nc.CollapseMonitor(model, head="fc", every=every)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(256):
            loss = torch.nn.functional.mse_loss(model(images[batch]), targets[batch])
            loss = loss + FEATURE_DECAY / 2 * (model.features**2).sum(1).mean()
            monitor.update(labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        monitor.end_epoch()
        schedule.step()
    decays = dict(layer_decay=LAYER_DECAY, feature_decay=FEATURE_DECAY)
    final = monitor.measure([(images, labels)], loss="squared", reduction="mean", feature_reduction="mean", **decays)
    return monitor, final


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=600)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--out", default="digits.png")
    arguments = parser.parse_args()
    monitor, final = train(arguments.epochs, arguments.every)
    for row in monitor.history:
        print(f"epoch {row['epoch']:4}  NC1 {row['nc1']:9.3e}  means to simplex {row['mean_simplex']:.3f}")
    print(final)
    try:
        monitor.plot().savefig(arguments.out)
        final.plot().savefig(arguments.out.replace(".png", "-network.png"))
    except ImportError as error:
        print(error)
    return monitor, final


if __name__ == "__main__":
    main()
