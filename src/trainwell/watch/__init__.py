"""Watches any training loop."""

from trainwell.watch.watcher import Watch, watch

__all__ = ["Watch", "watch"]
