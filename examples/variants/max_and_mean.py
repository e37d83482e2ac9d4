"""A classifier: the mean and the maximum of the tokens side by side."""

import torch
from torch import nn

from far.architecture.classifiers import CLASSIFIERS, Classifier


class MaxAndMeanPooling(nn.Module):
    def forward(self, x):  # (B, N, D) to (B, 2, D)
        return torch.stack([x.mean(1), x.amax(1)], dim=1)


class MaxAndMean(Classifier):
    def features(self, model):
        return 2

    def build(self, model, order):
        return MaxAndMeanPooling()


CLASSIFIERS.register("max-and-mean")(MaxAndMean())
