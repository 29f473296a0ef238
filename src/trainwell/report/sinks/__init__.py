"""Where a training is logged beside its own folder: one file each, found by this folder."""
