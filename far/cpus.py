"""How many CPUs this process may use: the least of its affinity and the quotas of its control groups.

The affinity covers cpusets alone; ``docker --cpus 4`` or a limit of Kubernetes is a quota, under which a process still
sees every core of the machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def allowed_cpus(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float:
    """Return the CPUs that this process may use, a part of one if its quota is that small.

    Args:
        root: where control groups are mounted.
        membership: the file that names this process's groups.
    """
    return min([float(len(os.sched_getaffinity(0))), *_quotas(root, membership)])


def whole_cpus() -> int:
    """Return ``allowed_cpus`` in whole numbers, at least 1."""
    return max(1, int(allowed_cpus()))


def _quotas(root: Path, membership: Path) -> Iterator[float]:
    """Yield the quotas in CPUs of this process's groups and of those above them, for version 1 and 2."""
    for mount, group in _groups(root, membership):
        mount = mount.resolve()
        place = (mount / group.lstrip("/")).resolve()
        # In a container the name may be the host's, while what is mounted begins at the container's own group.
        for folder in dict.fromkeys((place, *place.parents, mount)):
            if folder == mount or mount in folder.parents:
                with contextlib.suppress(OSError, ValueError):
                    if (quota := _quota(folder)) is not None:
                        yield quota


def _groups(root: Path, membership: Path) -> Iterator[tuple[Path, str]]:
    """Yield the mount and the group of the CPU controller."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if "cpu" in controllers.split(","):
            yield root / "cpu", group
            yield root / controllers, group
        elif number == "0" and not controllers:
            yield root, group
            yield root / "unified", group


def _quota(folder: Path) -> float | None:
    """Return a group's quota in CPUs, None if it has none.

    Raises:
        OSError, ValueError: this is not a group of the CPU controller.
    """
    if (folder / "cpu.max").exists():
        quota, period = (folder / "cpu.max").read_text().split()
    elif (folder / "cpu.cfs_quota_us").exists():
        quota, period = (folder / "cpu.cfs_quota_us").read_text(), (folder / "cpu.cfs_period_us").read_text()
    else:
        return None
    return float(quota) / float(period) if quota.strip() not in ("max", "-1") else None
