# test-slow.py - 3 GiB through zcio, pipes at both ends included
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import hashlib
import os
import shutil

from toolcase import *

import toolcase

SIZE = 3 * 1024 * 1024 * 1024 + 1

toolcase.GUARD = 1800


def transfer(d, send, receive):
    """@receive is run first; what arrives is hashed by this process."""
    port = free_port('127.0.0.1')
    receiver = receive(port)
    wait_listening(port)
    sender = send(port)
    h = hashlib.sha256()
    size = 0
    while data := receiver.stdout.read(1 << 20):
        h.update(data)
        size += len(data)
    end(sender)
    end(receiver)
    equal(size, SIZE)
    equal(h.hexdigest(), wanted(d))


_wanted = {}


def wanted(d):
    if d not in _wanted:
        _wanted[d] = digest(d + '/source')
    return _wanted[d]


def zcio_receive(port):
    return start('receive', '-q', '--once', '127.0.0.1:%d' % port)


def make_source(d):
    if shutil.disk_usage(d).free < 3 * SIZE:
        raise Skip('there are no 9 GiB free in ' + d)
    return make_file(d + '/source', SIZE)


@case
def three_gib():
    """3 GiB and a byte: each mode, from a file and from a pipe, into a pipe, a file, nc and socat; hashes are equal."""
    with directory() as d:
        source = make_source(d)
        for mode in 'auto', 'always', 'never':
            transfer(d, lambda port: start('send', '-q', '-z', mode, '127.0.0.1:%d' % port, source), zcio_receive)

        def from_pipe(port):
            cat = start(source, program='cat')
            sender = start('send', '-q', '127.0.0.1:%d' % port, '-', stdin=cat.stdout)
            cat.stdout.close()
            return sender
        transfer(d, from_pipe, zcio_receive)

        receiver = Receiver('--once', '-c', '-o', d + '/target')
        end(start('send', '-q', receiver.peer, source))
        (report,), _ = receiver.end()
        equal((report['sha256'], report['bytes']), (wanted(d), SIZE))
        equal(digest(d + '/target'), wanted(d))


@case
def three_gib_to_others():
    """3 GiB to nc and to socat, and from them."""
    with directory() as d:
        source = make_source(d)
        transfer(d, lambda port: start('send', '-q', '127.0.0.1:%d' % port, source),
                 lambda port: start('-d', '-l', '127.0.0.1', port, program=need_program('nc')))
        transfer(d, lambda port: start('send', '-q', '127.0.0.1:%d' % port, source),
                 lambda port: start('-u', 'TCP4-LISTEN:%d,bind=127.0.0.1' % port, '-', program=need_program('socat')))
        with open(source, 'rb') as f:
            transfer(d, lambda port: start('-N', '127.0.0.1', port, program=need_program('nc'), stdin=f), zcio_receive)
        transfer(d, lambda port: start('-u', 'OPEN:' + source, 'TCP4:127.0.0.1:%d' % port, program=need_program('socat')), zcio_receive)


@case
def demo():
    """The demo as it is without arguments: at least 1 GiB of the largest file under /usr/lib."""
    process = run('demo', '--json', '--quiet')
    equal((process.returncode, process.stderr), (0, ''))
    (report,) = parse_json(process.stdout)
    equal((report['complete'], report['file'][:9]), (True, '/usr/lib/'))
    true(report['bytes'] >= 1 << 30, 'it sent %d bytes' % report['bytes'])
    equal(report['sha256_sent'], report['sha256_received'])


main()
