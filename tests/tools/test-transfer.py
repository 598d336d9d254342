# test-transfer.py - end to end: zcio with itself, nc and socat
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

from toolcase import *

SIZES = [0, 1, 65537, 20 * 1000 * 1000 + 7]


def zcio_receive(path, host):
    receiver = Receiver('--once', '-o', path, host=host)
    return receiver.process, receiver.port


def nc_receive(path, host):
    port = free_port(host)
    with open(path, 'wb') as f:
        process = start('-d', '-l', host, port, program=need_program('nc'), stdout=f)
    wait_listening(port)
    return process, port


def socat_receive(path, host):
    port = free_port(host)
    address = 'TCP6-LISTEN:%d,bind=[%s]' if ':' in host else 'TCP4-LISTEN:%d,bind=%s'
    process = start('-u', address % (port, host), 'OPEN:%s,creat,trunc' % path, program=need_program('socat'))
    wait_listening(port)
    return process, port


def zcio_send(path, host, port):
    return start('send', '--quiet', '[%s]:%d' % (host, port) if ':' in host else '%s:%d' % (host, port), path)


def nc_send(path, host, port):
    with open(path, 'rb') as f:
        return start('-N', host, port, program=need_program('nc'), stdin=f)


def socat_send(path, host, port):
    address = 'TCP6:[%s]:%d' if ':' in host else 'TCP4:%s:%d'
    return start('-u', 'OPEN:' + path, address % (host, port), program=need_program('socat'))


def transfer(send, receive, family):
    if family == 'ipv6':
        need_ipv6()
    host = FAMILIES[family]
    with directory() as d:
        for size in SIZES:
            source = make_file(d + '/source', size)
            target = d + '/target'
            receiver, port = receive(target, host)
            sender = send(source, host, port)
            end(sender)
            end(receiver)
            equal(os.path.getsize(target), size, 'size')
            equal(digest(target), digest(source), 'hash of %d bytes' % size)
            os.unlink(target)


def add_pairs():
    senders = {'zcio': zcio_send, 'nc': nc_send, 'socat': socat_send}
    receivers = {'zcio': zcio_receive, 'nc': nc_receive, 'socat': socat_receive}
    for sender, send in senders.items():
        for receiver, receive in receivers.items():
            if 'zcio' not in (sender, receiver):
                continue
            for family in FAMILIES:
                def function(send=send, receive=receive, family=family):
                    transfer(send, receive, family)
                function.__name__ = '%s_to_%s_%s' % (sender, receiver, family)
                function.__doc__ = 'Files of 0, 1, 65537 and 20 million bytes arrive whole.'
                case(function)


add_pairs()


@case
def host_name():
    """A name is resolved at both ends; a port alone listens to all addresses."""
    with directory() as d:
        source = make_file(d + '/source', 100000)
        receiver = Receiver('--once', '-o', d + '/target', host='localhost')
        equal(run('send', '-q', receiver.peer, source).returncode, 0)
        receiver.end()
        equal(digest(d + '/target'), digest(source))

        process = start('receive', '--json', '-q', '--once', '-o', d + '/target', '0')
        port = parse_json(process.stdout.readline().decode())[0]['port']
        equal(run('send', '-q', '127.0.0.1:%d' % port, source).returncode, 0)
        end(process)
        equal(digest(d + '/target'), digest(source))


@case
def modes_and_sizes():
    """Each mode sends the same bytes, with small and large buffers, with and without a checksum."""
    with directory() as d:
        source = make_file(d + '/source', 3000001)
        for mode in 'auto', 'always', 'never':
            for size in '4095', '64K', '2MiB':
                for checksum in [], ['--checksum']:
                    receiver = Receiver('--once', '-c', '-o', '/dev/null')
                    sent = run('send', '--json', '-q', '--zero-copy=' + mode, '-b', size, *checksum, receiver.peer, source)
                    equal(sent.returncode, 0, sent.stderr)
                    report = parse_json(sent.stdout)[0]
                    (received,), _ = receiver.end()
                    what = '%s %s %s' % (mode, size, checksum)
                    equal(received['sha256'], digest(source), what)
                    equal(received['bytes'], 3000001, what)
                    equal(report.get('sha256'), digest(source) if checksum else None, what)
                    statistics = report['statistics']
                    equal(statistics['bytes_written'], 3000001, what)
                    equal(statistics['bytes_in_flight'], 0, what)
                    equal(sum(statistics['bytes_' + name] for name in
                              ('zero_copied', 'copied_by_kernel', 'copied_by_choice', 'copied_for_enobufs')), 3000001, what)
                    if mode == 'never':
                        equal(statistics['bytes_copied_by_choice'], 3000001, what)
                    if mode == 'always':
                        true(statistics['notifications'] > 0, 'zero-copy was not tried: ' + what)


@case
def several_files():
    """Files and standard input go one after the other over one connection."""
    with directory() as d:
        names = [make_file('%s/%d' % (d, i), size, i) for i, size in enumerate((10, 0, 70000))]
        receiver = Receiver('--once', '-o', d + '/target')
        with open(make_file(d + '/in', 5000, 9), 'rb') as f:
            equal(run('send', '-q', receiver.peer, names[0], names[1], '-', names[2], stdin=f).returncode, 0)
        receiver.end()
        parts = [open(n, 'rb').read() for n in (names[0], names[1], d + '/in', names[2])]
        equal(open(d + '/target', 'rb').read(), b''.join(parts))


@case
def names_with_dashes():
    """What comes after “--” is a file, whatever it looks like."""
    with directory() as d:
        source = make_file(d + '/--quiet', 100)
        receiver = Receiver('--once', '-o', d + '/target')
        end(start('send', '-q', receiver.peer, '--', '--quiet', cwd=d))
        receiver.end()
        equal(digest(d + '/target'), digest(source))


@case
def pipes_at_both_ends():
    """A pipe goes in and a pipe comes out."""
    for size in SIZES:
        with directory() as d:
            source = make_file(d + '/source', size)
            port = free_port('127.0.0.1')
            receiver = start('receive', '-q', '--once', '127.0.0.1:%d' % port)
            wait_listening(port)
            cat = start(source, program='cat')
            sender = start('send', '-q', '127.0.0.1:%d' % port, '-', stdin=cat.stdout)
            cat.stdout.close()
            h = hashlib.sha256()
            while data := receiver.stdout.read(1 << 16):
                h.update(data)
            end(sender)
            end(receiver)
            cat.wait(GUARD)
            equal(h.hexdigest(), digest(source), 'hash of %d bytes' % size)


@case
def pipe_is_not_held_back():
    """Bytes from a pipe go out as they come, not when a buffer is full."""
    sink = Sink(limit=5, after='stall')
    process = start('send', '-q', sink.peer, '-', stdin=subprocess.PIPE)
    process.stdin.write(b'first')
    process.stdin.flush()
    true(sink.reached.wait(GUARD), 'the first bytes did not arrive')
    equal(sink.size, 5)
    sink.close()
    end(process)


@case
def files_that_tell_no_size():
    """A file of /proc says that it is empty, and is not."""
    receiver = Receiver('--once', '-c', '-o', '/dev/null')
    end(start('send', '-q', receiver.peer, '/proc/version'))
    (received,), _ = receiver.end()
    equal(received['sha256'], hashlib.sha256(open('/proc/version', 'rb').read()).hexdigest())


@case
def fifo():
    """A FIFO can be sent, and received into."""
    with directory() as d:
        source = make_file(d + '/source', 300000)
        os.mkfifo(d + '/in')
        os.mkfifo(d + '/out')
        got = []
        reader = threading.Thread(target=lambda: got.append(open(d + '/out', 'rb').read()))
        writer = threading.Thread(target=lambda: open(d + '/in', 'wb').write(open(source, 'rb').read()))
        reader.start()
        writer.start()
        receiver = Receiver('--once', '-o', d + '/out')
        end(start('send', '-q', receiver.peer, d + '/in'))
        receiver.end()
        writer.join(GUARD)
        reader.join(GUARD)
        equal(got[0], open(source, 'rb').read())


@case
def sixteen_at_once():
    """One receiver serves 16 senders at once; each file arrives whole, as a file of its own."""
    with directory() as d:
        sources = [make_file('%s/source-%d' % (d, i), 2000000 + i, i) for i in range(16)]
        receiver = Receiver('-c', '-o', d + '/target')
        # The rate makes all of them overlap.
        senders = [start('send', '-q', '--rate=4M', receiver.peer, source) for source in sources]
        for sender in senders:
            end(sender)
        transfers = receiver.transfers(16)
        receiver.interrupt()
        equal({t['complete'] for t in transfers}, {True})
        equal(sorted(t['sha256'] for t in transfers), sorted(digest(s) for s in sources))
        names = [d + '/target'] + ['%s/target.%d' % (d, i) for i in range(2, 17)]
        equal(sorted(t['output'] for t in transfers), sorted(names))
        for t in transfers:
            equal(digest(t['output']), t['sha256'])
        equal(len(os.listdir(d)), 32, 'nothing else is left')


@case
def sixteen_to_standard_output():
    """To standard output, whole connections go one after the other."""
    with directory() as d:
        blocks = [bytes([65 + i]) * 200000 for i in range(16)]
        for i, block in enumerate(blocks):
            with open('%s/%d' % (d, i), 'wb') as f:
                f.write(block)
        port = free_port('127.0.0.1')
        with open(d + '/out', 'wb') as f:
            receiver = start('receive', '-q', '127.0.0.1:%d' % port, stdout=f)
        wait_listening(port)
        for sender in [start('send', '-q', '127.0.0.1:%d' % port, '%s/%d' % (d, i)) for i in range(16)]:
            end(sender)
        wait_until(lambda: os.path.getsize(d + '/out') == 16 * 200000, 'everything is out')
        receiver.send_signal(signal.SIGTERM)
        end(receiver)
        data = open(d + '/out', 'rb').read()
        equal(sorted(data[i:i + 200000] for i in range(0, len(data), 200000)), blocks)


@case
def several_to_a_fifo():
    """Into a FIFO, too, whole connections go one after the other."""
    with directory() as d:
        blocks = [bytes([65 + i]) * 500000 for i in range(4)]
        for i, block in enumerate(blocks):
            with open('%s/%d' % (d, i), 'wb') as f:
                f.write(block)
        os.mkfifo(d + '/out')
        # Open for writing, too, so that it does not end between two connections.
        with open(os.open(d + '/out', os.O_RDWR), 'rb', buffering=0) as f:
            receiver = Receiver('-o', d + '/out')
            senders = [start('send', '-q', receiver.peer, '%s/%d' % (d, i)) for i in range(4)]
            data = b''
            while len(data) < 4 * 500000:
                data += f.read(1 << 16)
        for sender in senders:
            end(sender)
        receiver.interrupt()
        equal(sorted(data[i:i + 500000] for i in range(0, len(data), 500000)), blocks)


def is_receiving(process):
    """Whether the thread of a connection is there"""
    tasks = '/proc/%d/task' % process.pid
    return any(open('%s/%s/comm' % (tasks, t)).read() == 'zcio-receive\n' for t in os.listdir(tasks))


def is_full(pipe):
    size = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder) >= size


@case
def nobody_reads():
    """An output that nobody reads, be it a FIFO or a pipe, does not hold back a signal."""
    with directory() as d:
        source = make_file(d + '/source', 1000000)
        os.mkfifo(d + '/out')
        for arguments in (['-o', d + '/out'], []):
            port = free_port('127.0.0.1')
            receiver = start('receive', '-q', *arguments, '127.0.0.1:%d' % port)
            wait_listening(port)
            sender = start('send', '-q', '127.0.0.1:%d' % port, source)
            wait_until(lambda: is_receiving(receiver), 'the connection is served')
            if not arguments:
                wait_until(lambda: is_full(receiver.stdout), 'the pipe is full')
            receiver.send_signal(signal.SIGTERM)
            receiver.wait(GUARD)
            equal(receiver.returncode, 128 + signal.SIGTERM)
            end(sender, None)


@case
def rate_is_kept():
    """A rate is an upper bound: half a megabyte at one a second takes no less than 0.4 s."""
    with directory() as d:
        source = make_file(d + '/source', 500000)
        for mode in 'auto', 'never':
            sink = Sink()
            begin = time.monotonic()
            end(start('send', '-q', '--rate=1M', '--zero-copy=' + mode, sink.peer, source))
            elapsed = time.monotonic() - begin
            sink.close()
            equal(sink.size, 500000)
            true(elapsed > 0.4, 'it took %.2f s' % elapsed)


@case
def in_flight_is_bounded():
    """--max-in-flight bounds what the kernel holds."""
    with directory() as d:
        source = make_file(d + '/source', 10000000)
        sink = Sink()
        sent = run('send', '--json', '-q', '-z', 'always', '-b', '64K', '-m', '256K', sink.peer, source)
        sink.close()
        equal(sent.returncode, 0, sent.stderr)
        statistics = parse_json(sent.stdout)[0]['statistics']
        equal(sink.hash.hexdigest(), digest(source))
        true(0 < statistics['peak_bytes_in_flight'] <= 256 * 1024, 'the peak is %d' % statistics['peak_bytes_in_flight'])


@case
def file_is_replaced_when_whole():
    """-o keeps the old file until all of the new one is there; links are followed, modes kept."""
    with directory() as d:
        source = make_file(d + '/source', 100000)
        with open(d + '/real', 'w') as f:
            f.write('old')
        os.chmod(d + '/real', 0o640)
        os.symlink('real', d + '/target')
        receiver = Receiver('--once', '-o', d + '/target')
        with socket.create_connection(('127.0.0.1', receiver.port)) as s:
            data = open(source, 'rb').read()
            s.sendall(data[:50000])
            wait_until(lambda: any(e.startswith('.real.') and os.path.getsize(d + '/' + e) == 50000 for e in os.listdir(d)),
                       'half of it is written beside')
            equal(open(d + '/real').read(), 'old')
            s.sendall(data[50000:])
        receiver.end()
        true(os.path.islink(d + '/target'), 'the link is still one')
        equal(digest(d + '/real'), digest(source))
        equal(os.stat(d + '/real').st_mode & 0o777, 0o640)
        equal(sorted(os.listdir(d)), ['real', 'source', 'target'])


@case
def new_file_has_the_mode_of_the_mask():
    """A new file is as readable as the umask lets it be."""
    with directory() as d:
        receiver = Receiver('--once', '-o', d + '/target', preexec_fn=lambda: os.umask(0o027))
        end(start('send', '-q', receiver.peer, make_file(d + '/source', 10)))
        receiver.end()
        equal(os.stat(d + '/target').st_mode & 0o777, 0o640)


main()
