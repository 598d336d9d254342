#!/usr/bin/python3
# send-async.py - sends with asyncio
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import sys

import gi
gi.require_version("Zcio", "1")
from gi.repository import Gio, Zcio


async def send(host, port):
    connection = Gio.SocketClient().connect_to_host(host, port, None)
    block = bytearray(1 << 18)
    async with Zcio.SocketStream(connection.get_socket()) as stream:
        for _ in range(64):
            await stream.send_async(block)
        print(stream.statistics.as_dict()["bytes_written"])
    connection.close(None)


Zcio.run(send(sys.argv[1], int(sys.argv[2])))
