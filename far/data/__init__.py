"""Video data: the demo set, manifests, decoding, sampling, augmentation, loading."""

from far.data.manifest import Manifest, Video
from far.data.opening import open_manifest

__all__ = ["Manifest", "Video", "open_manifest"]
