"""Video data: the demo set, manifests, decoding, sampling, augmentation, loading."""
