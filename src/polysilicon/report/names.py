"""Names as people write them: GB200, Trainium3, TPU v7, Azure; ids stay in the files for machines."""

from __future__ import annotations

import re

_WORDS = {
    "tpu": "TPU", "sxm": "SXM", "pcie": "PCIe", "nvl": "NVL", "nvl72": "NVL72", "aws": "AWS", "gcp": "Google Cloud",
    "oci": "Oracle",
    "azure": "Azure", "coreweave": "CoreWeave", "nvidia": "NVIDIA", "amd": "AMD", "openai": "OpenAI", "runpod": "RunPod",
    "google": "Google", "amazon": "Amazon", "microsoft": "Microsoft", "intel": "Intel", "lambda": "Lambda", "nebius": "Nebius",
}  # fmt: skip


def proper(identifier: str) -> str:
    """Return an id the way its owner writes it; words that are not known get a capital, model numbers all capitals.

    >>> [proper(x) for x in ("gb200", "h200-sxm", "tpu-v7", "trainium3", "maia-200", "gcp", "my cloud")]
    ['GB200', 'H200 SXM', 'TPU v7', 'Trainium3', 'Maia 200', 'Google Cloud', 'my cloud']
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", identifier):
        return identifier
    return " ".join(_word(word) for word in identifier.split("-"))


def _word(word: str) -> str:
    if word in _WORDS:
        return _WORDS[word]
    if re.fullmatch(r"v\d+[a-z]?", word):
        return word
    if re.fullmatch(r"[a-z]{1,3}\d+[a-z]{0,2}", word):
        return word.upper()
    return word[:1].upper() + word[1:]
