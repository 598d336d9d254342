#!/usr/bin/python3
# getting-started.py - sends 64 MiB to HOST PORT without copying them
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import sys

import gi
gi.require_version("Zcio", "1")
from gi.repository import Gio, Zcio

# from now on GIO's connections can send by zero-copy
Zcio.TcpConnection.register()

if len(sys.argv) != 3:
    sys.exit(f"usage: {sys.argv[0]} HOST PORT")
host, port = sys.argv[1:]
connection = Gio.SocketClient().connect_to_host(host, int(port), None)
stream = connection.get_output_stream()

# a plain call: copies
stream.write_all(b"hello\n", None)

# a zero-copy call: the stream has taken a reference to the object
stream.send(bytes(64 << 20))
print(stream.describe())

# closing waits until the kernel has released the memory
connection.close(None)
