"""The FAR model: a plain video ViT with three axes of variation, each one registry in one module.

Importing the registries (``patterns``, ``interactions``, ``classifiers``, ``backbones``) does not import
torch, so that a configuration is validated at once; ``far.model.vit`` builds the network.
"""
