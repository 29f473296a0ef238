from __future__ import annotations

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

SHARE, FEW = 0.02, 3
"""Share of a part, and images, from which copies matter: a score is then too good by up to as much."""


class DuplicateImages(Rule):
    """Find images that stand in the training part and look the same in another one."""

    ailment = "duplicate_images"
    needs = ("val_loss",)
    explains = ("leakage", "converged_early")
    source = (
        "Barz and Denzler 2020, arXiv:1902.00423 (3.3 % of CIFAR-10's test images are in its training part)."
    )

    def diagnose(self, view: View) -> Finding | None:
        parts = {
            name: (count, rows)
            for name, (count, rows) in (view.fact("alike") or {}).items()
            if count >= FEW and count > SHARE * rows
        }
        if not parts:
            return None
        said = " and ".join(f"{n} of {rows} images of the {name} part" for name, (n, rows) in parts.items())
        return Finding(
            self.ailment, "critical" if any(n > 0.1 * rows for n, rows in parts.values()) else "warning", 0.9, "S",
            f"{said} look like an image of the training part. "
            "The score then says in part how well the network remembers, not how well it will do.",
            tuple(Reading(f"alike in {name}", n / rows, SHARE) for name, (n, rows) in parts.items()),
            fix="remove the copies, or keep all images of one origin in one part: --group COLUMN",
            source=self.source, measured={"alike": float(sum(n for n, _ in parts.values()))},
        )  # fmt: skip
