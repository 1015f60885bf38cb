"""Joins stdin and stdout to a pseudo-terminal, whose name goes to stderr."""

import os
import pty
import select
import sys
import tty

master, slave = pty.openpty()  # The slave stays open here, so that a client's close is no hang-up.
tty.setraw(slave)
print(os.ttyname(slave), file=sys.stderr, flush=True)
while True:
    ready, _, _ = select.select([0, master], [], [])
    for source, sink in ((0, master), (master, 1)):
        if source in ready:
            data = os.read(source, 4096)
            if not data:
                sys.exit(0)
            while data:
                data = data[os.write(sink, data):]
