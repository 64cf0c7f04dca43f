"""The one place that starts HiGHS: silent, two threads, and never a failed run taken for an answer."""

from __future__ import annotations

import highspy

THREADS = 2


def new_solver() -> highspy.Highs:
    """Return an empty, silent solver."""
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", THREADS)
    return solver


def run(solver: highspy.Highs) -> highspy.HighsModelStatus:
    """Solve and return the model's status.

    HiGHS shares one pool of threads in a process and refuses to run when somebody else has set it to another size; the pool
    is then made anew.

    Raises: RuntimeError when HiGHS refuses all the same.
    """
    if solver.run() == highspy.HighsStatus.kError:
        highspy.Highs.resetGlobalScheduler(True)
        if solver.run() == highspy.HighsStatus.kError:
            raise RuntimeError("HiGHS refused to run")
    return solver.getModelStatus()
