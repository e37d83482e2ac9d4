"""An executor: trials one after another in this process, each once the machine has a core to spare."""

import os
import time

from orchestrator.executors.local import LocalExecutor
from orchestrator.executors.registry import EXECUTORS, Local


class PatientExecutor(LocalExecutor):
    def check(self, jobs):
        super().check(jobs)
        while os.getloadavg()[0] > (os.cpu_count() or 1) - 1:
            time.sleep(60)


class Patient(Local):
    builder = f"{__name__}:PatientExecutor"

    def where(self, settings):
        return "in this process, whenever the machine has a core to spare"


EXECUTORS.register("patient")(Patient())
