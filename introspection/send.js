#!/usr/bin/gjs
// send.js - sends a file without copying it, in JavaScript
//
// SPDX-FileCopyrightText: The zcio authors
// SPDX-License-Identifier: LGPL-2.1-or-later
//
// usage: gjs send.js HOST PORT FILE

imports.gi.versions.Zcio = '1';
const {Gio, GLib, Zcio} = imports.gi;

Gio._promisify(Zcio.SocketStream.prototype, 'writev_zerocopy_async', 'writev_zerocopy_finish');
Gio._promisify(Zcio.SocketStream.prototype, 'drain_async', 'drain_finish');

const BLOCK = 1024 * 1024;

async function send(host, port, path) {
    const data = GLib.MappedFile.new(path, false).get_bytes();
    const connection = new Gio.SocketClient().connect_to_host(host, port, null);
    const stream = new Zcio.SocketStream({socket: connection.get_socket()});

    stream.connect('completed', (_stream, sends, bytes, zeroCopied) => {
        printerr(`released ${bytes} bytes, ${zeroCopied ? 'without a copy' : 'copied by the kernel'}`);
    });
    for (let at = 0; at < data.get_size(); at += BLOCK) {
        const size = Math.min(BLOCK, data.get_size() - at);
        const block = data.new_from_bytes(at, size);
        await stream.writev_zerocopy_async([block], GLib.PRIORITY_DEFAULT, null);
    }
    await stream.drain_async(0, GLib.PRIORITY_DEFAULT, null);
    print(stream.get_statistics().to_string());
    stream.close(null);
    connection.close(null);
}

const loop = new GLib.MainLoop(null, false);
let status = 0;

if (ARGV.length === 3) {
    send(ARGV[0], parseInt(ARGV[1]), ARGV[2]).catch(error => {
        printerr(error.message);
        status = 1;
    }).finally(() => loop.quit());
    loop.run();
} else {
    printerr('usage: gjs send.js HOST PORT FILE');
    status = 2;
}
imports.system.exit(status);
