"""What quantising cost: errors of outputs and of every layer, sizes, and how to feed the result. As plain data and as a page."""

from tensorferry.quality.examining import examine, write_report
from tensorferry.quality.measuring import measure_quality
from tensorferry.quality.records import LayerQuality, OutputQuality, Quality

__all__ = ["LayerQuality", "OutputQuality", "Quality", "examine", "measure_quality", "write_report"]
