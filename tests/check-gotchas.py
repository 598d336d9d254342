#!/usr/bin/python3
# check-gotchas.py - whether each test that GOTCHAS.md names exists, and each line names one
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-gotchas.py GOTCHAS.md TEST-PROGRAM…

import re
import subprocess
import sys
import unittest

import tap

TABLE, *PROGRAMS = sys.argv[1:]

REASON = 'Does not apply:'


def rows():
    """The cells of each row of the tables, without their heads"""
    with open(TABLE, encoding='utf-8') as opened:
        for line in opened:
            cells = [cell.strip() for cell in line.strip().strip('|').split('|')]
            if line.startswith('|') and cells[0] not in ('', '#') and set(line.strip()) - set('|- '):
                yield cells


def names(cell):
    return re.findall(r'`(/[^`]*)`', cell)


def existing():
    """Names of all tests, and of the groups that they are in"""
    found = set()
    for program in PROGRAMS:
        listed = subprocess.run([program, '-l'], check=True, text=True, stdout=subprocess.PIPE)
        for path in re.findall(r'^/\S+$', listed.stdout, re.MULTILINE):
            parts = path.split('/')
            found.update('/'.join(parts[:n]) for n in range(2, len(parts) + 1))
    return found


class Gotchas(unittest.TestCase):
    def test_numbers(self):
        numbers = [row[0] for row in rows()]
        self.assertEqual([n for n in numbers if n.isdigit()], [str(n) for n in range(1, 43)])
        self.assertEqual([n for n in numbers if not n.isdigit()],
                         [f'P{n}' for n in range(1, len(numbers) - 42 + 1)])
        self.assertGreater(len(numbers), 42 + 15)

    def test_each_row_has_a_test_or_a_reason(self):
        for row in rows():
            with self.subTest(row=row[0]):
                self.assertEqual(len(row), 3)
                self.assertTrue(names(row[2]) or row[2].startswith(REASON))

    def test_named_tests_exist(self):
        tests = existing()
        self.assertGreater(len(tests), 100)
        for row in rows():
            for name in names(row[2]):
                with self.subTest(row=row[0], name=name):
                    self.assertIn(name, tests)


if __name__ == '__main__':
    tap.main()
