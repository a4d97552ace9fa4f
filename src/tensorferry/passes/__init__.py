"""Rewrites from Graph to Graph. A pass is `(Graph) -> int` (how many changes), idempotent, one topic a file.

Two rules hold for all of them. A value keeps its name as long as it keeps its numbers: a fused node bears the name of the last
node it replaces, so that a value can be compared with the source's value of the same name. And a pass that fuses asks first who
else reads the value; when it declines, it logs the node and the reason at debug level.
"""
