"""What a person sees of a run: the report, comparisons, the terminal. Reads saved folders only, never torch."""
