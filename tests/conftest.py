"""Signals as a program finds them that nobody has told to ignore any: `nohup` and shells hand that down to what they start."""

from __future__ import annotations

import signal

for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)
