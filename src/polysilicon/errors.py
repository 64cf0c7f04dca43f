"""Every error polysilicon raises on purpose, in one tree.

PolysiliconError                 where: what is wrong, with the value; what is allowed. hint: the next step
├── InputError                   a file, flag, request or feed is wrong                          exit 1
│   └── InputErrors              several of them, a whole file checked at once                  exit 1
├── MissingFact                  a fact that is needed is not known; it names subject and parameter  exit 1
├── UsageError                   a command was called in a way it does not offer                exit 2
├── Infeasible                   no plan satisfies the limits; it names the clashing ones       exit 3
│   └── DoesNotFit               a model does not fit the memory it was given; it says by how much  exit 3
├── PromiseNotKept               a plan exists, but the replay missed a promise                 exit 4
└── UpstreamError                a live endpoint refused, hung, lied or was cut                 exit 1
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class PolysiliconError(Exception):
    """An error with a place, a message and, where there is one, a hint."""

    exit_code = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\nhint: {self.hint}" if self.hint else head


class InputError(PolysiliconError):
    """A file, a flag, a request or a feed holds something that cannot be right."""


class InputErrors(InputError):
    """All the problems of one file at once."""

    def __init__(self, problems: Iterable[InputError]) -> None:
        self.problems: Sequence[InputError] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class MissingFact(PolysiliconError):
    """A fact that is needed is not known. Nothing is guessed in its place."""

    def __init__(self, subject: str, parameter: str, *, needed_for: str = "", where: str = "catalogue") -> None:
        self.subject = subject
        self.parameter = parameter
        purpose = f", needed for {needed_for}" if needed_for else ""
        super().__init__(
            f'no "{parameter}" is known for "{subject}"{purpose}',
            where=where,
            hint=f"add a fact for {subject} {parameter}, with its source, to an overlay file",
        )


class UsageError(PolysiliconError):
    """A command was called in a way it does not offer."""

    exit_code = 2


class Infeasible(PolysiliconError):
    """No plan satisfies the limits."""

    exit_code = 3


class DoesNotFit(Infeasible):
    """A model does not fit the memory it was given."""


class PromiseNotKept(PolysiliconError):
    """A plan exists, but replaying the traffic missed a promise."""

    exit_code = 4


class UpstreamError(PolysiliconError):
    """A live endpoint refused, hung, lied or was cut."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known names, or the empty string.

    >>> did_you_mean("GB30", ["GB300", "GB200", "H100"])
    'did you mean "GB300" or "GB200"?'
    """
    by_fold = {k.casefold(): k for k in known}
    close = get_close_matches(name.casefold(), by_fold, n=2, cutoff=0.6)
    return "did you mean " + " or ".join(f'"{by_fold[c]}"' for c in close) + "?" if close else ""


def unknown_name(name: str, known: Iterable[str], *, where: str, what: str, plural: str) -> InputError:
    """Return the error for a name that is not among the known ones.

    >>> print(unknown_name("GB30", ["GB300"], where="s.yaml:3:5", what="workloads[2].chip", plural="chips"))
    s.yaml:3:5: workloads[2].chip "GB30" is not in the catalogue (1 chips)
    hint: did you mean "GB300"?
    """
    names = sorted(known)
    hint = did_you_mean(name, names) or (f"known {plural}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "")
    return InputError(f'{what} "{name}" is not in the catalogue ({len(names)} {plural})', where=where, hint=hint)
