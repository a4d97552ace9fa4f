"""Samples to calibrate with: from pictures, arrays, tables or Python, checked before they are used, one at a time in memory."""
