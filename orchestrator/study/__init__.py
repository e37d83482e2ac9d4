"""Study files: what varies, over which seeds, on which resources; read and expanded into rows. No torch."""

from orchestrator.study.load import Row, Study, load_study, refuse_same_name
from orchestrator.study.lookup import find_study, study_files, submitted_name
from orchestrator.study.profiles import Profile, find_profile, profile_names
from orchestrator.study.schema import StudyFile

__all__ = [
    "Profile",
    "Row",
    "Study",
    "StudyFile",
    "find_profile",
    "find_study",
    "load_study",
    "profile_names",
    "refuse_same_name",
    "study_files",
    "submitted_name",
]
