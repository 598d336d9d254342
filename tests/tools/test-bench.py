# test-bench.py - bench and demo: what they print adds up, as text and as JSON
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import hashlib
import signal

from toolcase import *

SHORT = ['--seconds=0.05', '--rounds=3']


@case
def workloads():
    """Each workload runs with one stream and with four, against a sink that counts."""
    for workload in 'write', 'migrate', 'splice':
        for streams in 1, 4:
            receiver = Receiver('-o', '/dev/null')
            process = run('bench', '--json', '-w', workload, '-n', streams, '-s', '256K', *SHORT, receiver.peer)
            equal((process.returncode, process.stderr), (0, ''), workload)
            (report,) = parse_json(process.stdout)
            equal((report['workload'], report['streams'], report['rounds'], report['interrupted']), (workload, streams, 3, False))
            for mode in 'copy', 'zero_copy':
                true(report[mode]['bytes_per_second'] > 0, 'no rate')
            equal(report['copy']['zero_copied'], 0)
            equal(report['copy']['copied_by_kernel'], 0)
            transfers = receiver.transfers(streams)
            true(all(t['bytes'] > 0 and t['complete'] for t in transfers), 'each stream has sent')
            receiver.interrupt()


@case
def zero_copy_is_tried():
    """Over loopback, what is sent by zero-copy comes back as copied by the kernel."""
    receiver = Receiver('-o', '/dev/null')
    process = run('bench', *SHORT, receiver.peer)
    equal((process.returncode, process.stderr), (0, ''))
    receiver.transfers(1)
    receiver.interrupt()
    contains(process.stdout, r'(?m)^copy +[\d.]+ .B/s +\d+ ms +0 % +0 %$')
    contains(process.stdout, r'(?m)^zero-copy +[\d.]+ .B/s +\d+ ms +\d+ % +\d+ %$')
    contains(process.stdout, r'(?m)^ratio +[\d.]+ +[\d.]+$')
    contains(process.stdout, 'The kernel copied after all')


@case
def sink_that_goes_away():
    """A sink that resets ends the bench with one sentence and its exit code."""
    sink = Sink(limit=1000000, after='reset')
    one_error(run('bench', '--seconds=10', sink.peer), 5, 'The connection to %s was lost' % sink.peer)
    sink.close()


@case
def interrupted_bench():
    """Ctrl-C ends it; rounds that are done are printed."""
    receiver = Receiver('-o', '/dev/null')
    process = start('bench', '--json', '--seconds=0.05', '--rounds=1000', receiver.peer)
    wait_thread(process, 'zcio-bench')
    process.send_signal(signal.SIGINT)
    out, err = end(process, 130)
    equal(err, '')
    equal(parse_json(out)[0]['interrupted'], True)
    receiver.interrupt(None)


@case
def demo():
    """The demo sends from a main loop by zero-copy, and the checksums are equal."""
    with directory() as d:
        source = make_file(d + '/source', 3333333)
        process = run('demo', '--json', '--quiet', '--size=64M', source)
        equal((process.returncode, process.stderr), (0, ''))
        (report,) = parse_json(process.stdout)
        equal(report['complete'], True)
        equal(report['sha256_sent'], report['sha256_received'])
        equal(report['bytes'], -(-(64 << 20) // 3333333) * 3333333)
        h = hashlib.sha256()
        for _ in range(report['bytes'] // 3333333):
            h.update(open(source, 'rb').read())
        equal(report['sha256_sent'], h.hexdigest())
        statistics = report['statistics']
        equal(statistics['bytes_written'], report['bytes'])
        equal(statistics['bytes_in_flight'], 0)
        true(statistics['sends_zero_copied'] + statistics['sends_copied_by_kernel'] > 0, 'nothing was sent by zero-copy')
        true(statistics['notifications'] > 0 and statistics['reaper_dispatches'] > 0, 'the main loop has reaped nothing')


@case
def demo_table():
    """The demo's table has all its lines, and the sentence about loopback."""
    with directory() as d:
        process = run('demo', '--size=1', make_file(d + '/source', 3000000))
        equal(process.returncode, 0, process.stderr)
        for name in ['bytes', 'sends', 'notifications', 'zero-copied', 'copied by the kernel', 'copied by choice', 'copied for ENOBUFS',
                     'ENOBUFS met', 'peak in flight', 'CPU']:
            contains(process.stdout, '(?m)^%s  +[0-9]' % name)
        contains(process.stdout, r'(?m)^SHA-256 received +[0-9a-f]{64}, the same$')
        contains(process.stdout, 'Over loopback the kernel always copies')


@case
def demo_of_nothing():
    """An empty file has nothing to show."""
    with directory() as d:
        source = make_file(d + '/source', 0)
        one_error(run('demo', source), 6, '“%s” is empty' % source)


@case
def demo_interrupted():
    """Ctrl-C ends the demo and its receiver, with the table so far."""
    with directory() as d:
        process = start('demo', '--size=1T', make_file(d + '/source', 1000000))
        wait_thread(process, 'zcio-hash')
        process.send_signal(signal.SIGINT)
        out, _ = end(process, 130)
        contains(out, '(?m)^bytes ')


main()
