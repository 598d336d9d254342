# test-wire.py - on a wire that does not copy, the program tells so
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import shlex

from toolcase import *


def on_wire(*arguments):
    """Runs the program at one end of the wire; “ADDRESS” stands for the other end."""
    need_root()
    if not WIRE:
        raise Skip('the wire was not built')
    words = ' '.join('"$ZCIO_WIRE_ADDRESS"' if a == 'ADDRESS' else shlex.quote(a) for a in [TOOL, *arguments])
    # Room for notifications, so that none is missing when the machine is busy
    process = run('--optmem=16777216', '--', 'sh', '-c', words, program=WIRE)
    if 'zcio-wire: ' in process.stderr:
        raise Skip(process.stderr.strip())
    equal((process.returncode, process.stderr), (0, ''))
    (report,) = parse_json(process.stdout)
    return report


@case
def send_is_zero_copied():
    """A file goes without a copy, mapped or spliced; what is copied by choice is said to be."""
    with directory() as d:
        source = make_file(d + '/source', 40000000)
        statistics = on_wire('send', '--json', '-q', '--zero-copy=always', 'ADDRESS', source)['statistics']
        equal(statistics['bytes_zero_copied'], 40000000)
        true(statistics['notifications'] > 0, 'no notifications')
        # A part goes by sendfile(), which counts as copied by choice, to find out what is cheaper.
        statistics = on_wire('send', '--json', '-q', '--zero-copy=auto', 'ADDRESS', source)['statistics']
        equal(statistics['spliced_bytes'], 40000000)
        equal(statistics['bytes_zero_copied'] + statistics['bytes_copied_by_choice'], 40000000)
        true(statistics['bytes_zero_copied'] >= 4 << 20, 'the beginning is mapped')
        true(statistics['notifications'] > 0, 'no notifications')
        statistics = on_wire('send', '--json', '-q', '--zero-copy=never', 'ADDRESS', source)['statistics']
        equal(statistics['bytes_copied_by_choice'], 40000000)


@case
def bench_compares():
    """One turn of each round copies, the other does not."""
    for workload in 'write', 'migrate', 'splice':
        report = on_wire('bench', '--json', '--seconds=0.05', '--rounds=2', '--workload=' + workload, 'ADDRESS')
        equal((report['copy']['zero_copied'], report['zero_copy']['zero_copied']), (0, 1), workload)
        equal(report['zero_copy']['copied_by_kernel'], 0, workload)


@case
def doctor_agrees():
    """The doctor finds nothing bad on the way."""
    report = on_wire('doctor', '--json', 'ADDRESS')
    true(report['verdict'] != 'bad', repr(report))


main()
