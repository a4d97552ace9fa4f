"""The byte formats themselves. Every length, offset and count is checked before it is used; errors name the byte."""
