"""One file per ailment: traces -> finding or None; numpy only."""

from trainwell.rules.diagnosis import diagnose

__all__ = ["diagnose"]
