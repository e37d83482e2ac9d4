"""Video data: the demo set, manifests, decoding, sampling, augmentation, loading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from far.data.sources.manifest import Manifest, Video
    from far.data.sources.open import open_manifest

__all__ = ["Manifest", "Video", "open_manifest"]


def __getattr__(name: str) -> Any:
    """Import on first use: the configuration names samplers of this package, and must not import all of it."""
    if name == "open_manifest":
        from far.data.sources.open import open_manifest  # noqa: PLC0415  (see above)

        return open_manifest
    if name in __all__:
        from far.data.sources import manifest  # noqa: PLC0415  (see above)

        return getattr(manifest, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
