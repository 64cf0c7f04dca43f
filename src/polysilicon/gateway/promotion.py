"""Promotion by evidence: is a variant as good as its reference? Sequential tests that stop as soon as the question is settled.

Each sample pairs a variant's answer with the reference's. Wald's sequential probability ratio test compares "no worse" (mean
difference 0) with "worse by the limit" (mean difference delta) on x = reference minus variant, with its variance as observed:

    L_n = delta / s^2 x sum(x_i - delta / 2);  stop at L >= ln((1 - miss) / false);  pass at L <= ln(miss / (1 - false))

so a variant that is worse by delta is stopped with probability 1 - miss, and one that is not is stopped with probability `false`; each test
is held to a tenth of the risks that are stated for the whole trial.
The expected number of samples is 2 s^2 ln(1 / risk) / delta^2, some 1,500 for two points of quality at one discordant pair in ten.

Source: A. Wald, Sequential Analysis, 1947.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from math import log, sqrt
from pathlib import Path

import msgspec

from polysilicon.gateway.config import PromotionPart
from polysilicon.gateway.samples import Sample

GOING, PASSED, STOPPED = "going", "passed", "stopped"
NEXT = {"none": "built", "built": "parity", "parity": "shadow", "shadow": "pilot", "pilot": "canary", "canary": "production"}
_FIRST_LOOK = 50  # before that the observed variance says too little


@dataclass(slots=True)
class Sprt:
    """One sequential test of a mean difference against 0 and `delta`."""

    delta: float
    false_stop_frac: float = 0.05
    miss_frac: float = 0.05
    floor: float = 0.01  # least variance: a run of equal pairs proves less than it seems to
    variance_max_ratio: float = float("inf")  # most: a rate far beyond the limit must not hide behind its own spread
    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    verdict: str = GOING

    def add(self, x: float) -> str:
        """Take one difference; return going, passed or stopped.

        >>> test = Sprt(0.2)
        >>> [test.add(x) for x in [0.5, 0.3] * 100][-1]
        'stopped'
        """
        if self.verdict != GOING:
            return self.verdict
        self.n += 1
        self.total += x
        self.squares += x * x
        if self.n >= _FIRST_LOOK:
            mean = self.total / self.n
            variance = min(self.variance_max_ratio, max(self.floor, self.squares / self.n - mean * mean))
            ratio = self.delta / variance * (self.total - self.n * self.delta / 2.0)
            if ratio >= log((1.0 - self.miss_frac) / self.false_stop_frac):
                self.verdict = STOPPED
            elif ratio <= log(self.miss_frac / (1.0 - self.false_stop_frac)):
                self.verdict = PASSED
        return self.verdict


@dataclass(slots=True)
class Trial:
    """The tests of one variant at one stage."""

    variant: str
    stage: str
    settings: PromotionPart
    samples: int = 0
    errors: int = 0
    verdict: str = GOING
    why: str = ""
    tests: dict[str, Sprt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        s = self.settings
        # a drop of delta is itself a variance of delta: less would prove too much from a run of equal pairs
        # Five tests share the risk of a false stop; and the variance is an estimate, lowest where by chance few pairs differ, which is also
        # where a drop looks smallest: at a nominal 2.5 % a drop of two points was missed in 3.6-4.2 % of trials, at 0.5 % in 0.2-1.3 %.
        # So each test is held to a tenth of what is stated; that costs some 15 % more samples.
        risk = s.false_stop_frac / 10.0
        miss = s.miss_frac / 10.0
        self.tests = {
            "quality": Sprt(s.quality_drop_max_frac, risk, miss, max(0.01, s.quality_drop_max_frac)),
            "longer": Sprt(log(1.0 + s.length_drift_max_frac), risk, miss, 0.0025),
            "shorter": Sprt(-log(1.0 - s.length_drift_max_frac), risk, miss, 0.0025),
            "errors": Sprt(s.error_max_frac, risk, miss, max(0.002, s.error_max_frac), max(0.002, s.error_max_frac)),
            "latency": Sprt(log(s.latency_factor_max), risk, miss, 0.0025),
        }

    def add(self, sample: Sample) -> str:
        """Take one sample; return going, passed or stopped."""
        if self.verdict != GOING:
            return self.verdict
        self.samples += 1
        self.errors += sample.error
        tests = self.tests
        tests["errors"].add(float(sample.error))
        if not sample.error:
            tests["quality"].add(float(sample.reference_good) - float(sample.good))
            if sample.output_tokens and sample.reference_tokens:
                drift = log(sample.output_tokens / sample.reference_tokens)
                tests["longer"].add(drift)
                tests["shorter"].add(-drift)
            if sample.ttft_s > 0 and sample.reference_ttft_s > 0:
                tests["latency"].add(log(sample.ttft_s / sample.reference_ttft_s))
        for name, test in tests.items():
            if test.verdict == STOPPED:
                self.verdict = STOPPED
                mean = test.total / test.n
                self.why = f"{name}: mean {mean:+.3f} against a limit of {test.delta:.3f} after {test.n} samples"
                return self.verdict
        enough = self.samples >= self.settings.samples_min
        if enough and all(t.verdict == PASSED or t.n == 0 for t in tests.values()):
            self.verdict = PASSED
        elif self.samples >= self.settings.samples_max:
            self.verdict = STOPPED
            open_tests = [name for name, t in tests.items() if t.verdict != PASSED and t.n]
            self.why = f"not shown to be as good within {self.samples} samples: {', '.join(open_tests)}"
        return self.verdict


def samples_needed(delta: float, variance: float, risk: float) -> float:
    """Return the expected number of samples until a verdict, at equal risks.

    >>> round(samples_needed(0.02, 0.1, 0.05))
    1325
    """
    bound = log((1.0 - risk) / risk)
    return (1.0 - 2.0 * risk) * bound / (delta * delta / (2.0 * variance))


def standard_error(variance: float, n: int) -> float:
    """Return the standard error of a mean."""
    return sqrt(variance / n)


class _Decided(msgspec.Struct, frozen=True):
    stated: tuple[str, str]  # by the gateway's file, when it was decided
    now: tuple[str, str]


class Promotions:
    """Stages of all variants under test; promotes by passed trials, demotes at once by a stopped one."""

    def __init__(self, settings: PromotionPart, stages: dict[str, tuple[str, str]], memory: Path | None = None) -> None:
        """`memory` names the file that keeps what was decided over restarts and reloads; where the gateway's file has changed since, that counts."""
        self.settings = settings
        self.stated = dict(stages)  # by the gateway's file: variant -> stage, gate
        self.stages = dict(stages)  # now
        self._memory = memory
        self._recall()
        self.trials: dict[str, Trial] = {}
        self.log: list[str] = []

    def _recall(self) -> None:
        if self._memory is None:
            return
        try:
            kept = msgspec.json.decode(self._memory.read_bytes(), type=dict[str, _Decided])
        except (OSError, msgspec.MsgspecError):
            return
        for variant, decided in kept.items():
            if self.stated.get(variant) == decided.stated:
                self.stages[variant] = decided.now

    def _keep(self) -> None:
        if self._memory is None:
            return
        decided = {v: _Decided(self.stated[v], now) for v, now in self.stages.items() if v in self.stated and now != self.stated[v]}
        scratch = self._memory.with_suffix(".part")
        with contextlib.suppress(OSError):  # a full disk: what was decided holds in memory
            scratch.write_bytes(msgspec.json.encode(decided))
            scratch.replace(self._memory)

    def add(self, sample: Sample) -> None:
        """Take one sample and act on a verdict."""
        stage, _gate = self.stages.get(sample.variant, ("", ""))
        if stage not in ("shadow", "pilot", "canary"):
            return
        trial = self.trials.get(sample.variant)
        if trial is None or trial.stage != stage:
            trial = self.trials[sample.variant] = Trial(sample.variant, stage, self.settings)
        before = trial.verdict
        verdict = trial.add(sample)
        if verdict == before:
            return
        if verdict == STOPPED:
            self.stages[sample.variant] = (stage, "failed")
            self.log.append(f"{sample.variant} stopped in {stage}: {trial.why}")
            self._keep()
        elif self.settings.automatic:
            self.promote(sample.variant)

    def promote(self, variant: str) -> str:
        """Move a variant one stage up; return the new stage. Beyond pilot its gate counts as passed by the trial it has won."""
        stage, gate = self.stages[variant]
        new = NEXT.get(stage, stage)
        trial = self.trials.pop(variant, None)
        if new in ("canary", "production") and gate != "passed" and not (trial is not None and trial.verdict == PASSED):
            self.log.append(f"{variant} stays in {stage}: its quality gate has not passed")
            return stage
        if trial is not None and trial.verdict == PASSED:
            gate = "passed"
        self.stages[variant] = (new, gate)
        self.log.append(f"{variant}: {stage} -> {new}")
        self._keep()
        return new

    def set_stage(self, variant: str, stage: str, gate: str) -> None:
        """Set a stage by an operator's word."""
        self.stages[variant] = (stage, gate)
        self.trials.pop(variant, None)
        self.log.append(f"{variant}: set to {stage} by the operator")
        self._keep()
