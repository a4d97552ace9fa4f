"""Spoilt models for all readers: each ends in a graph or one clear error, soon, in little memory; nothing is written elsewhere."""
