#!/usr/bin/python3
# test-count-tests.py - the closing line of `./run test` hides no failure
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import json
import os
import subprocess
import sys
import tempfile
import unittest

import tap

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'count-tests.py')


class CountTests(unittest.TestCase):
    def count(self, *records, wanted=()):
        with tempfile.NamedTemporaryFile('w', suffix='.json') as log:
            for output, result, code in records:
                log.write(json.dumps({'name': 'zcio:unit / p', 'stdout': output,
                                      'result': result, 'returncode': code}) + '\n')
            log.flush()
            run = subprocess.run([sys.executable, SCRIPT, log.name, '--', *wanted],
                                 stdout=subprocess.PIPE, text=True, check=False)
        lines = run.stdout.splitlines()
        passed, failed, skipped = (int(part.split()[0]) for part in lines[-1].split(', '))
        self.assertEqual(run.returncode, 1 if failed else 0)
        self.reasons = [line for line in lines[:-1] if line]
        return passed, failed, skipped

    def test_all_pass(self):
        self.assertEqual(self.count(('TAP version 13\n# random seed: R02S\n1..2\nok 1 /a\nok 2 /b\n', 'OK', 0)), (2, 0, 0))

    def test_skip_shows_its_reason(self):
        self.assertEqual(self.count(('1..2\nok 1 /a # SKIP no IPv6\nok 2 /b\n', 'OK', 0)), (1, 0, 1))
        self.assertEqual(self.reasons, ['skipped: p: /a: no IPv6'])

    def test_all_skipped(self):
        self.assertEqual(self.count(('1..0 # SKIP needs root\n', 'SKIP', 0)), (0, 0, 1))
        self.assertEqual(self.reasons, ['skipped: p: all of it: needs root'])

    def test_failed_case(self):
        self.assertEqual(self.count(('1..2\nnot ok 1 /a - boom\nok 2 /b\n', 'FAIL', 1)), (1, 1, 0))

    def test_crash_fails_every_case_that_did_not_run(self):
        self.assertEqual(self.count(('1..3\nok 1 /a\nBail out! boom\n', 'ERROR', -6)), (1, 2, 0))

    def test_crash_after_the_last_case(self):
        self.assertEqual(self.count(('1..1\nok 1 /a\n', 'ERROR', -11)), (1, 1, 0))

    def test_leak_found_at_exit(self):
        self.assertEqual(self.count(('1..1\nok 1 /a\n', 'ERROR', 23)), (1, 1, 0))

    def test_no_output(self):
        self.assertEqual(self.count(('', 'SKIP', 0)), (0, 1, 0))

    def test_no_plan(self):
        self.assertEqual(self.count(('ok 1 /a\n', 'OK', 0)), (1, 1, 0))

    def test_too_few_and_too_many(self):
        self.assertEqual(self.count(('1..3\nok 1 /a\n', 'ERROR', 0)), (1, 2, 0))
        self.assertEqual(self.count(('1..1\nok 1 /a\nok 2 /b\n', 'ERROR', 0)), (2, 1, 0))

    def test_timeout(self):
        self.assertEqual(self.count(('1..2\nok 1 /a\nok 2 /b\n', 'TIMEOUT', -15)), (2, 1, 0))

    def test_todo(self):
        self.assertEqual(self.count(('1..1\nnot ok 1 /a # TODO later\n', 'OK', 0)), (0, 0, 1))
        self.assertEqual(self.count(('1..1\nok 1 /a # TODO later\n', 'FAIL', 0)), (0, 1, 0))

    def test_subtests_count_once(self):
        self.assertEqual(self.count(('1..2\n    ok 1 /a/x\n    ok 2 /a/y\n    1..2\nok 1 /a\nok 2 /b\n', 'OK', 0)), (3, 0, 0))

    def test_program_without_tap(self):
        self.assertEqual(self.count(('fine\n', 'OK', 0)), (1, 0, 0))
        self.assertEqual(self.count(('wrong\n', 'FAIL', 1)), (0, 1, 0))
        self.assertEqual(self.count(('no valac here\n', 'SKIP', 77)), (0, 0, 1))

    def test_nothing_ran(self):
        self.assertEqual(self.count(), (0, 1, 0))

    def test_unknown_name(self):
        record = ('1..1\nok 1 /a\n', 'OK', 0)
        self.assertEqual(self.count(record, wanted=['p']), (1, 0, 0))
        self.assertEqual(self.count(record, wanted=['q']), (1, 1, 0))


if __name__ == '__main__':
    tap.main()
