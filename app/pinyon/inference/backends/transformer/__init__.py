"""Computes transformers with torch or OpenVINO, and reads their folders with sentence-transformers."""
