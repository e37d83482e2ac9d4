"""Who may run the trials, by the name that ``--executor`` takes; Ray is imported when its executor is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from far.errors import ConfigError
from far.registry import Registry, instance_of, named
from orchestrator.executors import collector

if TYPE_CHECKING:
    from orchestrator.executors.base import Executor
    from orchestrator.plan.plan import Plan
    from orchestrator.workspace.settings import Settings
    from orchestrator.workspace.workspace import Workspace


class ExecutorSpec(ABC):
    """One way to run trials.

    Attributes:
        builder: ``"module:name"`` of the executor's class.
        options: options of the command line that it looks at in addition to those that all executors look at.
        environment: environment variables of other programs that people expect it to read.
    """

    builder: ClassVar[str] = ""
    options: ClassVar[Collection[str]] = ()
    environment: ClassVar[Collection[str]] = ()

    @abstractmethod
    def where(self, settings: Settings) -> str:
        """Return in words where trials would run: what follows "would run"."""

    def refused(self, plan: Plan, settings: Settings) -> list[str]:
        """Return what of a plan it could never run, as far as that is known before it is made."""
        return []

    @abstractmethod
    def make(self, plan: Plan, workspace: Workspace) -> Executor:
        """Return the executor."""


class Local(ExecutorSpec):
    """One trial after another in this process."""

    builder = "orchestrator.executors.local:LocalExecutor"

    def where(self, settings: Settings) -> str:
        """See :class:`ExecutorSpec`."""
        return "one after another in this process"

    def refused(self, plan: Plan, settings: Settings) -> list[str]:
        """Return the rows that want several processes."""
        from orchestrator.estimate.capacity import several_processes  # noqa: PLC0415  (50 ms that reading results does not need)

        return several_processes(plan.missing())

    def make(self, plan: Plan, workspace: Workspace) -> Executor:
        """See :class:`ExecutorSpec`."""
        executor: Executor = named(self.builder)()
        return executor


class Ray(ExecutorSpec):
    """Ray Tune, on this machine or a cluster."""

    builder = "orchestrator.executors.ray.executor:RayTuneExecutor"
    options = ("address", "trust")
    environment = ("RAY_ADDRESS",)

    def where(self, settings: Settings) -> str:
        """See :class:`ExecutorSpec`."""
        return f"by Ray, {settings.ray_address or 'here'}"

    def refused(self, plan: Plan, settings: Settings) -> list[str]:
        """Return what this machine has no room for; a cluster elsewhere is asked later."""
        from orchestrator.estimate import find_target  # noqa: PLC0415  (see above)
        from orchestrator.estimate.capacity import misfits  # noqa: PLC0415  (see above)

        return misfits(plan.missing(), find_target(None)) if settings.ray_address is None else []

    def make(self, plan: Plan, workspace: Workspace) -> Executor:
        """See :class:`ExecutorSpec`."""
        address = workspace.settings.ray_address
        from orchestrator.executors.ray.cluster import prepare_environment  # noqa: PLC0415  (see above)

        prepare_environment(address)  # before Ray is imported
        limits = [study.resources.concurrent for study in plan.studies if study.resources.concurrent]
        concurrent = min(limits, default=None)
        with collector.paused():  # while Ray is imported
            build = named(self.builder)
        executor: Executor = build(workspace.store.root, address=address, concurrent=concurrent)
        return executor


EXECUTORS: Registry[ExecutorSpec] = Registry("executor", "--executor", accepts=instance_of(ExecutorSpec))
EXECUTORS.register("ray")(Ray())
EXECUTORS.register("local")(Local())
DEFAULT = "ray"


def find_executor(name: str) -> ExecutorSpec:
    """Return the executor of this name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return EXECUTORS[name]
    except ConfigError as error:
        raise error.at(key=EXECUTORS.key, where="command line") from None


def looks_at(given: Mapping[str, Any], option: str) -> bool:
    """Return whether the executor that was asked for looks at an option of the command line."""
    name = given["executor"]
    return name not in EXECUTORS or option in EXECUTORS[name].options
