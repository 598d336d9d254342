#!/usr/bin/python3
# send.py - sends a file without copying it, in Python
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: send.py HOST PORT FILE

import mmap
import sys

import gi

gi.require_version('Zcio', '1')
from gi.repository import Gio, Zcio  # noqa: E402

BLOCK = 1024 * 1024


def on_completed(stream, sends, size, zero_copied):
    how = 'without a copy' if zero_copied else 'copied by the kernel'
    print(f'released {size} bytes, {how}', file=sys.stderr)


async def send(host, port, path):
    connection = Gio.SocketClient().connect_to_host(host, port, None)
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        async with Zcio.SocketStream(connection.get_socket()) as stream:
            stream.connect('completed', on_completed)
            for at in range(0, len(data), BLOCK):
                with memoryview(data) as view, view[at:at + BLOCK] as block:
                    await stream.send_async(block)
    connection.close(None)
    print(stream.statistics)


if len(sys.argv) != 4:
    sys.exit('usage: send.py HOST PORT FILE')
Zcio.run(send(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
