"""The mathematics of ranking and the analysis of text, for every engine."""
