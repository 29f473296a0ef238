"""Laws for third parties: `check_technique(MyTechnique)` in a test checks all of them."""

from __future__ import annotations

from trainwell.testing.laws import LAWS, check_technique

__all__ = ["LAWS", "check_technique"]
