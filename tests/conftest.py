"""What holds for all tests."""

from __future__ import annotations

import signal

# A job started in the background of a shell script ignores Ctrl-C, and so do the processes it
# starts; tests that interrupt a program must find it as a terminal would start it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
