#!/usr/bin/python3
# check-abi.py - the library is what programs were once linked to
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-abi.py [--update] LIBRARY GIR
#
# GIR may be empty. tests/abi/ holds the map of symbols, with the version that each came
# in, as the GIR has it, and what the library once was like, as abidw dumps it.
# `./run abi` makes both anew: look at the difference before it is kept.

import difflib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import tap

UPDATE = sys.argv[1] == '--update'
LIBRARY, GIR = sys.argv[-2:]

HERE = os.path.dirname(os.path.abspath(__file__))
HEADERS = os.path.join(os.path.dirname(HERE), 'zcio')
PUBLIC = [name for name in os.listdir(HEADERS) if name.endswith('.h') and not name.endswith('-private.h')]
MAP = os.path.join(HERE, 'abi', 'zcio-1.symbols')
DUMP = os.path.join(HERE, 'abi', 'zcio-1.abi')

CORE = '{http://www.gtk.org/introspection/core/1.0}'
C = '{http://www.gtk.org/introspection/c/1.0}'
GLIB = '{http://www.gtk.org/introspection/glib/1.0}'


def map_from_gir():
    """Lines of a version and a symbol"""
    root = ElementTree.parse(GIR).getroot()
    symbols = {}
    for kind in ('function', 'method', 'constructor'):
        for element in root.iter(CORE + kind):
            symbols[element.get(C + 'identifier')] = element.get('version')
    for element in root.iter():
        get_type = element.get(GLIB + 'get-type')
        if get_type not in (None, 'intern'):
            symbols[get_type] = element.get('version')
    nameless = sorted(name for name, version in symbols.items() if not version)
    if nameless:
        raise ValueError('no "Since:" for ' + ', '.join(nameless))
    return sorted(f'{version} {name}\n' for name, version in symbols.items())


def read_map():
    with open(MAP, encoding='ascii') as kept:
        return list(kept)


def copy_public_headers(directory):
    """What is declared elsewhere is private"""
    for name in PUBLIC:
        shutil.copy(os.path.join(HEADERS, name), directory)


def update():
    with open(MAP, 'w', encoding='ascii') as kept:
        kept.writelines(map_from_gir())
    with tempfile.TemporaryDirectory() as headers:
        copy_public_headers(headers)
        subprocess.run(['abidw', '--headers-dir', headers, '--drop-private-types',
                        '--drop-undefined-syms', '--no-corpus-path', '--no-comp-dir-path',
                        '--no-show-locs', '--out-file', DUMP, LIBRARY], check=True)


class Abi(unittest.TestCase):
    @unittest.skipIf(not GIR, 'built without introspection')
    def test_map(self):
        difference = ''.join(difflib.unified_diff(read_map(), map_from_gir(),
                                                  'tests/abi/zcio-1.symbols', 'the GIR'))
        self.assertEqual(difference, '', 'if this is intended: ./run abi\n' + difference)

    @unittest.skipIf(not shutil.which('nm'), 'no nm')
    def test_exported(self):
        run = subprocess.run(['nm', '--dynamic', '--defined-only', '--extern-only', LIBRARY],
                             text=True, check=True, stdout=subprocess.PIPE)
        exported = {line.split()[-1].split('@')[0] for line in run.stdout.splitlines()}
        self.assertEqual(sorted(exported ^ {line.split()[1] for line in read_map()}), [])

    @unittest.skipIf(not shutil.which('abidiff'), 'no abidiff')
    @unittest.skipIf(platform.machine() != 'x86_64', 'the dump is of x86_64')
    def test_dump(self):
        """What is new is no matter of the ABI; what has changed or gone is"""
        # The dump has no private types. With --headers-dir2 nothing would be a difference.
        run = subprocess.run(['abidiff', '--no-added-syms', DUMP, LIBRARY],
                             text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(run.returncode, 0, run.stdout)


if __name__ == '__main__':
    if UPDATE:
        update()
    else:
        tap.main()
