"""How one replica of a model is spread over chips."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Precisions and degrees of parallelism of one replica.

    `tp x pp x dp` chips hold one replica; expert parallelism `ep` reuses the chips of tp x dp (attention data
    parallel, experts sharded over ep).
    """

    precision: str = "bf16"  # of the weights and, where the chip has it, of the math
    kv_precision: str = "bf16"
    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1

    @property
    def chips(self) -> int:
        """Return the chips of one replica.

        >>> Layout(tp=8, dp=2).chips
        16
        """
        return self.tp * self.pp * self.dp

    @property
    def name(self) -> str:
        """Return a short readable name.

        >>> Layout("fp8", "fp8", tp=8, ep=8).name
        'fp8/kv-fp8 tp8 ep8'
        """
        degrees = " ".join(f"{k}{v}" for k, v in (("tp", self.tp), ("pp", self.pp), ("ep", self.ep), ("dp", self.dp)) if v > 1)
        return f"{self.precision}/kv-{self.kv_precision} {degrees or 'tp1'}"
