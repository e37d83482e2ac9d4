"""Writing a source under our names: one safetensors file that says what it is."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from far.errors import WeightsError
from far.store.atomic import file_sha256
from far.weights.source import Source, decide_family


def convert(source: Source, out: Path, *, overwrite: bool = False) -> None:
    """Write every tensor that a network of ours can use, with family, positions and origin in the metadata.

    Raises:
        ConfigError: the file leaves its family open, and its positions follow from it.
        WeightsError: ``out`` is no ``.safetensors`` name, exists already, or cannot be written.
    """
    if out.suffix != ".safetensors":
        raise WeightsError(f"{out}: the converted file's name must end in .safetensors")
    if out.exists() and not overwrite:
        raise WeightsError(f"{out}: exists already; --overwrite replaces it")
    decide_family(source, "--family")
    metadata = {
        "format": "pt",
        "farlab": "1",
        "family": source.family,
        "position_embedding": source.position_embedding,
        "converted_from": source.path.name,
    }
    if source.grid is not None:
        metadata["grid"] = ",".join(str(part) for part in source.grid)
    partial = out.with_suffix(".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in source.tensors.items()}, partial, metadata=metadata)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise WeightsError(f"{out}: cannot be written ({error})") from None


def sha256_of(path: Path) -> str | None:
    """Return the file's SHA-256, None for a directory."""
    if not path.is_file():
        return None
    return file_sha256(path)
