"""``farlab accept-code``: a change of the code that changes no number, on record."""

from __future__ import annotations

from orchestrator.cli.options import ProfileOption, SeedsOption, Targets, TrustOption, plan_targets
from orchestrator.plan.changed_code import accept
from orchestrator.store.acceptances import FILE


def accept_code(
    targets: Targets, profile: ProfileOption = None, seeds: SeedsOption = None, trust: TrustOption = False
) -> int:
    """Put on record that what has changed in the code since these trials ran changes no number.

    They count again, in every study of the store.

    Examples:
        farlab accept-code head_ratio
    """
    plan, workspace = plan_targets(targets, profile, seeds, generate=False)
    names = ", ".join(study.name for study in plan.studies)
    accepted = accept(plan.code, names, workspace.store.root)
    for text, count in accepted.items():
        trials = "1 trial counts" if count == 1 else f"{count} trials count"
        print(f"{names}: accepted that the change of {text} changes no number: {trials} as before")
    if accepted:
        print(f"on record in {workspace.store.root / FILE}")
    else:
        print(f"{names}: no trial's code has changed since: nothing to accept")
    return 0
