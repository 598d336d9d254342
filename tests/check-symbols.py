#!/usr/bin/python3
# check-symbols.py - the library exports what its headers declare, and no more
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-symbols.py NM LIBRARY GIR HEADER…
# GIR may be empty.

import os
import re
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree

import tap

NM, LIBRARY, GIR, *HEADERS = sys.argv[1:]

CORE = '{http://www.gtk.org/introspection/core/1.0}'
C = '{http://www.gtk.org/introspection/c/1.0}'
GLIB = '{http://www.gtk.org/introspection/glib/1.0}'

COMMENT = re.compile(r'/\*.*?\*/', re.DOTALL)
DIRECTIVE = re.compile(r'^[ \t]*#(?:\\\n|.)*', re.MULTILINE)
DECLARATION = re.compile(r'\bZCIO_AVAILABLE_IN_(?:ALL|\d_\d+)\b([^;{]*?)\b(zcio_\w+)\s*\(', re.DOTALL)
DECLARE_TYPE = re.compile(r'\bG_DECLARE_\w+_TYPE \(\w+, (zcio_\w+),')
ANY_PROTOTYPE = re.compile(r'\b(zcio_\w+)\s*\([^()]*\)\s*(?:G_GNUC_\w+\s*(?:\([^()]*\))?\s*)*;')


def read_header(path):
    with open(path, encoding='utf-8') as header:
        return DIRECTIVE.sub('', COMMENT.sub('', header.read()))


def is_implemented(header):
    return os.path.exists(header[:-len('.h')] + '.c')


def declared_functions(headers):
    functions = set()
    for path in headers:
        text = read_header(path)
        functions |= {match.group(2) for match in DECLARATION.finditer(text)}
        functions |= {name + '_get_type' for name in DECLARE_TYPE.findall(text)}
    return functions


def exported_symbols():
    run = subprocess.run([NM, '--dynamic', '--defined-only', '--extern-only', LIBRARY],
                         text=True, check=True, stdout=subprocess.PIPE)
    return {line.split()[-1].split('@')[0] for line in run.stdout.splitlines()}


class Symbols(unittest.TestCase):
    def setUp(self):
        self.declared = declared_functions(HEADERS)
        self.exported = exported_symbols()

    def test_something_is_exported(self):
        self.assertIn('zcio_statistics_copy', self.exported)
        self.assertIn('zcio_statistics_get_type', self.declared)

    def test_prefix(self):
        self.assertEqual([name for name in sorted(self.exported) if not name.startswith('zcio_')], [])

    def test_exported_are_declared(self):
        self.assertEqual(sorted(self.exported - self.declared), [])

    def test_declared_are_exported(self):
        declared = declared_functions(filter(is_implemented, HEADERS))
        self.assertEqual(sorted(declared - self.exported), [])

    def test_all_headers_are_implemented(self):
        missing = [os.path.basename(path) for path in HEADERS
                   if declared_functions([path]) and not is_implemented(path)]
        if missing:
            self.skipTest('nothing implements yet: ' + ', '.join(missing))

    def test_every_prototype_has_its_version(self):
        """A prototype without ZCIO_AVAILABLE_IN_… would be hidden"""
        for path in HEADERS:
            text = read_header(path)
            marked = {match.group(2) for match in DECLARATION.finditer(text)}
            prototypes = set(ANY_PROTOTYPE.findall(text))
            with self.subTest(header=os.path.basename(path)):
                self.assertEqual(sorted(prototypes - marked), [])


class Manual(unittest.TestCase):
    def test_same_functions(self):
        """The list of the manual has what is exported, and nothing else"""
        sections = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                'docs', 'zcio-1-sections.txt')
        if not os.path.exists(sections):
            self.skipTest('there is no list of the manual yet')
        with open(sections, encoding='utf-8') as file:
            listed = set(re.findall(r'^zcio_\w+$', file.read(), re.MULTILINE))
        self.assertEqual(sorted(listed ^ exported_symbols()), [])


@unittest.skipIf(not GIR, 'built without introspection')
class Introspection(unittest.TestCase):
    def setUp(self):
        self.root = ElementTree.parse(GIR).getroot() if GIR else None
        self.functions = {}
        for kind in ('function', 'method', 'constructor'):
            for element in self.root.iter(CORE + kind):
                self.functions[element.get(C + 'identifier')] = element
        # Types have their function as an attribute
        self.type_functions = {element.get(GLIB + 'get-type') for element in self.root.iter()}
        self.type_functions -= {None, 'intern'}

    def test_same_functions(self):
        in_gir = set(self.functions) | self.type_functions
        self.assertEqual(sorted(in_gir ^ exported_symbols()), [])

    def test_every_function_says_since_when(self):
        self.assertEqual([name for name, element in sorted(self.functions.items())
                          if not element.get('version')], [])

    def test_every_type_says_since_when(self):
        kinds = ('class', 'interface', 'record', 'enumeration', 'bitfield', 'callback')
        named = [element for kind in kinds for element in self.root.iter(CORE + kind)
                 if element.get('name') and not element.get(GLIB + 'is-gtype-struct-for')]
        self.assertTrue(named)
        self.assertEqual([element.get('name') for element in named
                          if not element.get('version') and element.get(C + 'type')], [])


if __name__ == '__main__':
    tap.main()
