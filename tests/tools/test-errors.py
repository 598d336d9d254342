# test-errors.py - one clear sentence, the exit code of its kind, and no half file
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import os
import signal
import socket
import struct
import subprocess

from toolcase import *

USAGE, NAME, CONNECT, CONNECTION, INPUT, OUTPUT = 2, 3, 4, 5, 6, 7
NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--']


@case
def usage():
    """Commands, options, numbers and addresses that make no sense."""
    for arguments, pattern in [
        ([], 'A command is missing'),
        (['fly'], 'There is no command “fly”'),
        (['send'], 'HOST:PORT and at least one FILE'),
        (['send', 'localhost:5000'], 'HOST:PORT and at least one FILE'),
        (['send', '--fly', 'localhost:5000', '/dev/null'], 'Unknown option --fly'),
        (['send', 'localhost', '/dev/null'], '“localhost” is not an address'),
        (['send', ':5000', '/dev/null'], '“:5000” is not an address'),
        (['send', 'localhost:99999', '/dev/null'], '“localhost:99999” is not an address'),
        (['send', 'localhost:port:', '/dev/null'], '“localhost:port:” is not an address'),
        (['send', '[::1:5000', '/dev/null'], '“\\[::1:5000” is not an address'),
        (['send', '::1', '/dev/null'], '“::1” is not an address'),
        (['send', 'localhost:0', '/dev/null'], '“localhost:0” has no port'),
        (['send', '', '/dev/null'], '“” is not an address'),
        (['send', '--rate=fast', 'localhost:5000', '/dev/null'], '--rate: “fast” is not a size'),
        (['send', '--rate=0', 'localhost:5000', '/dev/null'], '--rate: “0” is out of range'),
        (['send', '--rate=-1', 'localhost:5000', '/dev/null'], '--rate: “-1” is not a size'),
        (['send', '--buffer-size=1e6', 'localhost:5000', '/dev/null'], '--buffer-size: “1e6” is not a size'),
        (['send', '--buffer-size=', 'localhost:5000', '/dev/null'], '--buffer-size: “” is not a size'),
        (['send', '--buffer-size=K', 'localhost:5000', '/dev/null'], '--buffer-size: “K” is not a size'),
        (['send', '--buffer-size=2G', 'localhost:5000', '/dev/null'], '--buffer-size: “2G” is out of range'),
        (['send', '--max-in-flight=99999999999T', 'localhost:5000', '/dev/null'], '--max-in-flight: “99999999999T” is not a size'),
        (['send', '--timeout=soon', 'localhost:5000', '/dev/null'], '.*soon'),
        (['send', '--timeout=-1', 'localhost:5000', '/dev/null'], '--timeout: A time cannot be negative'),
        (['send', '--zero-copy=maybe', 'localhost:5000', '/dev/null'], '--zero-copy: “maybe” is none of auto, always and never'),
        (['receive'], r'One \[ADDRESS:\]PORT is needed'),
        (['receive', '1', '2'], r'One \[ADDRESS:\]PORT is needed'),
        (['receive', '65536'], '“65536” is not a port'),
        (['receive', '-5'], 'Unknown option -5'),
        (['receive', '127.0.0.1'], '“127.0.0.1” is not an address'),
        (['receive', '--json', '0'], '--json needs --output=FILE'),
        (['bench'], 'One HOST:PORT is needed'),
        (['bench', '--streams=0', 'localhost:5000'], '--streams must be from 1'),
        (['bench', '--rounds=0', 'localhost:5000'], '--streams must be from 1'),
        (['bench', '--seconds=nan', 'localhost:5000'], '--streams must be from 1'),
        (['bench', '--size=0', 'localhost:5000'], '--size: “0” is out of range'),
        (['bench', '--workload=dance', 'localhost:5000'], '--workload: “dance” is none of write'),
        (['doctor', 'a', 'b'], 'At most one HOST'),
        (['demo', 'a', 'b'], 'At most one FILE'),
    ]:
        one_error(run(*arguments), USAGE, pattern)


@case
def help_and_version():
    """Help and version go to standard output, and are no error."""
    contains(run('--version').stdout, r'^zcio \d+\.\d+\.\d+\n$')
    for arguments in ['--help'], ['send', '--help'], ['receive', '-h'], ['bench', '--help'], ['doctor', '--help'], ['demo', '--help']:
        process = run(*arguments)
        equal((process.returncode, process.stderr), (0, ''))
        contains(process.stdout, '^Usage:')


@case
def unknown_host():
    """A name that nobody knows."""
    for arguments in ['send', 'host.invalid:5000', '/dev/null'], ['bench', 'host.invalid:5000'], \
            ['doctor', 'host.invalid'], ['receive', 'host.invalid:5000']:
        one_error(run(*arguments), NAME, '.*host.invalid')


@case
def refused():
    """Nobody listens."""
    port = free_port('127.0.0.1')
    for arguments in ['send', '127.0.0.1:%d' % port, '/dev/null'], ['bench', '127.0.0.1:%d' % port]:
        one_error(run(*arguments), CONNECT, '.*127.0.0.1:%d.*Connection refused' % port)


@case
def address_in_use():
    """Somebody else listens, or the address is not ours."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        one_error(run('receive', '127.0.0.1:%d' % s.getsockname()[1]), CONNECT, 'Cannot listen on 127.0.0.1:.*in use')
    one_error(run('receive', '192.0.2.1:5000'), CONNECT, 'Cannot listen on 192.0.2.1:5000')


@case
def reset_in_mid_transfer():
    """The receiver goes away: the sender says so, in each mode, and also for a pipe."""
    with directory() as d:
        source = make_file(d + '/source', 60000000)
        for arguments in [['--zero-copy=' + m] for m in ('auto', 'always', 'never')] + [['--checksum']]:
            for after in 'reset', 'close':
                sink = Sink(limit=1000000, after=after)
                process = run('send', '-q', *arguments, sink.peer, source)
                sink.close()
                one_error(process, CONNECTION, 'The connection to %s was lost' % sink.peer)


@case
def peer_that_stalls():
    """With --timeout, a peer that does not read ends the transfer."""
    with directory() as d:
        source = make_file(d + '/source', 60000000)
        for mode in 'auto', 'always', 'never':
            sink = Sink(limit=1, after='stall')
            process = run('send', '-q', '--timeout=1', '--zero-copy=' + mode, sink.peer, source)
            sink.close()
            one_error(process, CONNECTION, 'The connection to %s was lost: .*timed out' % sink.peer)


@case
def peer_that_is_silent():
    """With --timeout, a peer that sends nothing ends the transfer, and there is no file."""
    with directory() as d:
        receiver = Receiver('--once', '--timeout=1', '-o', d + '/target')
        with socket.create_connection(('127.0.0.1', receiver.port)) as s:
            s.sendall(b'beginning')
            (transfer,), text = receiver.end(CONNECTION)
        contains(text, '^zcio: The connection from 127.0.0.1:.* was lost after 9 bytes: .*timed out\n$')
        equal((transfer['complete'], transfer['error']['kind'], transfer['error']['exit_code']), (False, 'connection', CONNECTION))
        equal(os.listdir(d), [])


@case
def no_file_after_a_reset():
    """A sender that fails, is interrupted or killed leaves no file, and the old one as it was."""
    with directory() as d:
        source = make_file(d + '/source', 60000000)
        for number in signal.SIGINT, signal.SIGTERM, signal.SIGKILL:
            with open(d + '/target', 'w') as f:
                f.write('old')
            receiver = Receiver('--once', '-o', d + '/target')
            sender = start('send', '-q', '--rate=10M', receiver.peer, source)
            wait_until(lambda: any(e.startswith('.target.') and os.path.getsize(d + '/' + e) > 0 for e in os.listdir(d)), 'some of it is there')
            sender.send_signal(number)
            end(sender, -number if number == signal.SIGKILL else 128 + number)
            (transfer,), text = receiver.end(CONNECTION)
            contains(text, 'was lost after .* bytes: .*reset')
            equal(transfer['complete'], False)
            equal(open(d + '/target').read(), 'old')
            equal(sorted(os.listdir(d)), ['source', 'target'])


@case
def no_file_after_an_interruption():
    """A receiver that is interrupted leaves no file, and the sender notices."""
    with directory() as d:
        source = make_file(d + '/source', 60000000)
        for once in ['--once'], []:
            receiver = Receiver('-o', d + '/target', *once)
            sender = start('send', '-q', '--rate=10M', receiver.peer, source)
            wait_until(lambda: any(e.startswith('.target.') and os.path.getsize(d + '/' + e) > 0 for e in os.listdir(d)), 'some of it is there')
            (transfer,), text = receiver.interrupt(130, signal.SIGINT)
            equal((transfer['interrupted'], text), (True, ''))
            end(sender, CONNECTION)
            equal(os.listdir(d), ['source'])


@case
def interrupted_receiver_that_waits():
    """With --once and no connection yet it has not done its work; without, it has."""
    equal(Receiver('--once', '-o', '/dev/null').interrupt(130, signal.SIGINT), ([], ''))
    equal(Receiver('-o', '/dev/null').interrupt(0, signal.SIGINT), ([], ''))


@case
def server_goes_on():
    """Without --once, a connection that fails does not keep others from being served."""
    with directory() as d:
        source = make_file(d + '/source', 1000)
        receiver = Receiver('-o', d + '/target')
        with socket.create_connection(('127.0.0.1', receiver.port)) as s:
            s.sendall(b'beginning')
            wait_until(lambda: any(e.startswith('.target.') and os.path.getsize(d + '/' + e) == 9 for e in os.listdir(d)), 'it is there')
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        equal([t['complete'] for t in receiver.transfers(1)], [False])
        end(start('send', '-q', receiver.peer, source))
        equal([t['complete'] for t in receiver.transfers(1)], [True])
        _, text = receiver.interrupt(CONNECTION)
        contains(text, '^zcio: The connection from .* was lost after 9 bytes: .*\n$')
        equal(sorted(os.listdir(d)), ['source', 'target.2'])


@case
def input_that_cannot_be_read():
    """Missing, a directory, not ours: said before anybody is connected to."""
    port = free_port('127.0.0.1')
    with directory() as d:
        source = make_file(d + '/source', 10)
        os.chmod(source, 0)
        one_error(run('send', '127.0.0.1:%d' % port, d + '/missing'), INPUT, 'Cannot read “%s/missing”: No such file' % d)
        one_error(run('send', '127.0.0.1:%d' % port, d), INPUT, 'Cannot read “%s”: Is a directory' % d)
        one_error(run('demo', d + '/missing'), INPUT, 'Cannot read “%s/missing”' % d)
        one_error(run('send', '127.0.0.1:%d' % port, d + '/new\nline'), INPUT, r'Cannot read “%s/new.?.?.?line”' % d)
        if os.geteuid() == 0:
            need_program('setpriv')
            process = run(*NOBODY[1:], TOOL, 'send', '127.0.0.1:%d' % port, source, program=NOBODY[0])
        else:
            process = run('send', '127.0.0.1:%d' % port, source)
        one_error(process, INPUT, 'Cannot read “%s”: Permission denied' % source)


@case
def standard_input_that_cannot_be_read():
    """A directory as standard input."""
    with directory() as d:
        fd = os.open(d, os.O_RDONLY)
        process = run('send', '127.0.0.1:1', '-', stdin=fd)
        os.close(fd)
        one_error(process, INPUT, 'Cannot read “standard input”: Is a directory')


@case
def input_that_shrinks():
    """A file that becomes shorter while it is sent is an error, not a crash, and the receiver has no file."""
    with directory() as d:
        for arguments in ['--zero-copy=always', '--rate=20M'], ['--zero-copy=auto', '--rate=20M'], ['--zero-copy=never', '--rate=20M']:
            source = make_file(d + '/source', 60000000)
            receiver = Receiver('--once', '-o', d + '/target')
            sender = start('send', '-q', *arguments, receiver.peer, source)
            wait_until(lambda: any(e.startswith('.target.') and os.path.getsize(d + '/' + e) > 0 for e in os.listdir(d)), 'some of it is there')
            os.truncate(source, 100)
            _, text = end(sender, INPUT)
            contains(text, '^zcio: “%s” became shorter while it was sent\n$' % source)
            receiver.end(CONNECTION)
            equal(os.listdir(d), ['source'])


@case
def input_that_shrinks_while_it_is_spliced():
    """The same where the library reads the file by itself, and the peer had stopped reading."""
    with directory() as d:
        for mode in 'auto', 'always':
            source = make_file(d + '/source', 60000000)
            with socket.create_server(('127.0.0.1', 0)) as server:
                sender = start('send', '-q', '--zero-copy=' + mode, '127.0.0.1:%d' % server.getsockname()[1], source)
                connection, _ = server.accept()
                with connection:
                    connection.recv(1)
                    os.truncate(source, 100)
                    try:
                        while connection.recv(1 << 20):
                            pass
                        raise AssertionError('the end looks like that of a whole file')
                    except ConnectionResetError:
                        pass
                _, text = end(sender, INPUT)
                contains(text, '^zcio: “%s” became shorter while it was sent\n$' % source)


@case
def output_that_cannot_be_written():
    """A directory, a missing one, no permission, a full device."""
    one_error(run('receive', '-o', '/tmp', '0'), OUTPUT, 'Cannot write “/tmp”: Is a directory')
    with directory() as d:
        source = make_file(d + '/source', 100000)
        for name, why in [(d + '/none/target', 'No such file or directory'), ('/dev/full', 'No space left on device')]:
            receiver = Receiver('--once', '-o', name)
            sender = start('send', '-q', receiver.peer, source)
            (transfer,), text = receiver.end(OUTPUT)
            equal(text, 'zcio: Cannot write “%s”: %s\n' % (name, why))
            equal((transfer['complete'], transfer['error']['kind']), (False, 'output'))
            end(sender, None)


@case
def full_disk():
    """No room on the receiver's disk: both ends say so, and nothing is left of the file."""
    need_root()
    with directory() as d:
        source = make_file(d + '/source', 30000000)
        disk = d + '/disk'
        os.mkdir(disk)
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'zcio-test', disk], capture_output=True).returncode != 0:
            raise Skip('no file system can be mounted')
        try:
            receiver = Receiver('--once', '-o', disk + '/target')
            sender = start('send', '-q', receiver.peer, source)
            (transfer,), text = receiver.end(OUTPUT)
            equal(text, 'zcio: Cannot write “%s/target”: No space left on device\n' % disk)
            _, text = end(sender, CONNECTION)
            contains(text, '^zcio: The connection to .* was lost: [^\n]*\n$')
            equal(os.listdir(disk), [])
        finally:
            subprocess.run(['umount', disk], check=True)


@case
def standard_output_that_ends():
    """A reader that has seen enough ends the receiver, and the sender."""
    with directory() as d:
        source = make_file(d + '/source', 30000000)
        port = free_port('127.0.0.1')
        receiver = start('receive', '-q', '--once', '127.0.0.1:%d' % port)
        wait_listening(port)
        sender = start('send', '-q', '127.0.0.1:%d' % port, source)
        equal(len(receiver.stdout.read(10)), 10)
        receiver.stdout.close()
        receiver.wait(GUARD)
        equal(receiver.stderr.read().decode(), 'zcio: Cannot write “standard output”: Broken pipe\n')
        equal(receiver.returncode, OUTPUT)
        receiver.stderr.close()
        end(sender, CONNECTION)


@case
def errors_as_json():
    """With --json an error is an object too, and the sentence is still there."""
    port = free_port('127.0.0.1')
    process = run('send', '--json', '-q', '127.0.0.1:%d' % port, '/dev/null')
    (report,) = parse_json(process.stdout)
    one_error(process, CONNECT, '.*refused')
    equal((report['complete'], report['error']['kind'], report['error']['exit_code']), (False, 'connect', CONNECT))
    equal('zcio: ' + report['error']['message'] + '\n', process.stderr)


main()
