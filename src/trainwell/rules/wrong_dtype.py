from __future__ import annotations

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading


class WrongDtype(Rule):
    """Find parameters in float64, which cost twice the time and memory."""

    ailment = "wrong_dtype"
    needs = ("params",)
    explains = ("launch_bound",)
    source = "PyTorch documentation, torch.from_numpy: it keeps NumPy's default, float64."

    def diagnose(self, view: View) -> Finding | None:
        params = view.fact("params") or ()
        double = [p["name"] for p in params if p["dtype"] in ("float64", "complex128")]
        if not double:
            return None
        return Finding(
            self.ailment, "warning", 0.95, "D",
            "The network computes in float64. That takes about twice the time and memory of float32 and rarely helps.",
            (Reading("parameters in float64", len(double), 0),), layers=tuple(double[:10]),
            fix="model.float() and inputs.float()", source=self.source,
        )  # fmt: skip
