#!/usr/bin/python3
# check-sections.py - the manual lists what the library exports, and no more
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-sections.py NM LIBRARY SECTIONS DOCS-XML HEADER…

import os
import re
import subprocess
import sys
import unittest

import tap

NM, LIBRARY, SECTIONS, DOCS_XML, *HEADERS = sys.argv[1:]


def read(path):
    with open(path, encoding='utf-8') as opened:
        return opened.read()


class Sections(unittest.TestCase):
    def setUp(self):
        self.symbols = re.findall(r'^\w+$', read(SECTIONS), re.MULTILINE)

    def test_no_symbol_twice(self):
        self.assertEqual(sorted({name for name in self.symbols if self.symbols.count(name) > 1}), [])

    def test_functions(self):
        run = subprocess.run([NM, '--dynamic', '--defined-only', '--extern-only', LIBRARY],
                             text=True, check=True, stdout=subprocess.PIPE)
        exported = {line.split()[-1].split('@')[0] for line in run.stdout.splitlines()}
        self.assertIn('zcio_socket_stream_new', exported)
        listed = {name for name in self.symbols if name.startswith('zcio_')}
        self.assertEqual(sorted(exported ^ listed), [])

    def test_types_and_macros(self):
        text = ''.join(map(read, HEADERS))
        declared = set(re.findall(r'^#define (ZCIO_\w+)', text, re.MULTILINE))
        declared -= {'ZCIO_INSIDE'}
        declared |= set(re.findall(r'^typedef .*\(\*(Zcio\w+)\)', text, re.MULTILINE))
        declared |= set(re.findall(r'^} (Zcio\w+);', text, re.MULTILINE))
        declared |= set(re.findall(r'^typedef struct _\w+ (Zcio\w+);', text, re.MULTILINE))
        for name, prefix in re.findall(r'^G_DECLARE_FINAL_TYPE \((\w+), \w+, ZCIO, (\w+),', text, re.MULTILINE):
            declared |= {name, 'ZCIO_' + prefix, 'ZCIO_IS_' + prefix}
        listed = {name for name in self.symbols if not name.startswith('zcio_')}
        self.assertEqual(sorted(declared ^ listed), [])

    def test_all_files_are_in_the_manual(self):
        listed = re.findall(r'<FILE>(.*)</FILE>', read(SECTIONS))
        included = re.findall(r'href="xml/(zcio-[\w-]+)\.xml"', read(DOCS_XML))
        self.assertEqual(sorted(listed), sorted(included))

    def test_files_are_named_after_headers(self):
        headers = {os.path.splitext(os.path.basename(path))[0] for path in HEADERS}
        for name in re.findall(r'<FILE>(.*)</FILE>', read(SECTIONS)):
            self.assertIn(name, headers)


if __name__ == '__main__':
    tap.main()
