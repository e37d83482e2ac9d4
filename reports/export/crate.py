"""``ro-crate-metadata.json``: what the folder holds, for machines (https://w3id.org/ro/crate/1.1)."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from far.store.atomic import file_sha256, write_json
from far.store.environment import code_version

FILE = "ro-crate-metadata.json"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
TYPES = {".yaml": "application/yaml", ".parquet": "application/vnd.apache.parquet", ".jsonl": "application/jsonl",
         ".tex": "application/x-tex", ".md": "text/markdown", ".toml": "application/toml",
         ".pt": "application/octet-stream"}  # fmt: skip
SOFTWARE, LICENCE, RUN = "#farlab", "#licence", "#study"


def write_crate(folder: Path, record: Mapping[str, Any], suffixes: Sequence[str]) -> None:
    """Describe every file of a folder.

    Args:
        folder: as it is handed on, whole but for this description.
        record: the study's submission.
        suffixes: endings of the tables.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != FILE]
    names = [path.relative_to(folder).as_posix() for path in files]
    tables = [f"tables/{record['study']}{suffix}" for suffix in dict.fromkeys(suffixes)]
    code = code_version()
    graph: list[dict[str, Any]] = [
        {
            "@id": FILE,
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": record.get("title") or record["study"],
            "description": f"The study '{record['study']}' (profile {record['profile']['name']}): configuration, "
            "results by trial, provenance and tables.",
            "datePublished": datetime.now(UTC).date().isoformat(),
            "license": {"@id": LICENCE},
            "hasPart": [{"@id": name} for name in names],
            "mentions": {"@id": RUN},
        },
        {
            "@id": LICENCE,
            "@type": "CreativeWork",
            "name": "not stated",
            "description": "Whoever hands this folder on says under which licence.",
        },
        {
            "@id": SOFTWARE,
            "@type": "SoftwareApplication",
            "name": "FARLab",
            "softwareVersion": " ".join(filter(None, (code.get("version"), code.get("git")))),
        },
        {
            "@id": RUN,
            "@type": "CreateAction",
            "name": f"farlab sweep {record['study']}",
            "startTime": record["submitted_at"],
            "instrument": {"@id": SOFTWARE},
            "object": [{"@id": record_file} for record_file in names if record_file.startswith("studies/")],
            "result": [{"@id": name} for name in tables if name in names],
        },
    ]
    graph += [_file(folder, path) for path in files]
    write_json(folder / FILE, {"@context": CONTEXT, "@graph": graph})


def _file(folder: Path, path: Path) -> dict[str, Any]:
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {
        "@id": path.relative_to(folder).as_posix(),
        "@type": "File",
        "name": path.name,
        "encodingFormat": kind,
        "contentSize": str(path.stat().st_size),
        "sha256": file_sha256(path),
    }
