"""A lowered program becomes a quantised one, as the options ask."""

from tensorferry.quantising.allowing import ALLOWED, WebQuantised, web_allowance
from tensorferry.quantising.asking import Calibration, Within, calibration_of, samples_of, scheme_of
from tensorferry.quantising.making import Quantised, follow, quantise

__all__ = [
    "ALLOWED",
    "Calibration",
    "Quantised",
    "WebQuantised",
    "Within",
    "calibration_of",
    "follow",
    "quantise",
    "samples_of",
    "scheme_of",
    "web_allowance",
]
