"""Judgements: which records people found good or bad for which query, and how well searches rank by them."""
