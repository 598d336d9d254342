#!/usr/bin/python3
# test-commands.py - README and guide: each command and program in them is run
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: test-commands.py SOURCE-ROOT BUILD-ROOT CC [TOOL]
#
# Commands are the lines that are indented by four blanks. What is indented or fenced and
# is not known here makes the test fail, so that nothing new goes unrun.

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

import tap
from sink import RUN_SCRIPT, Sink

SOURCE, BUILD, CC, *TOOL = sys.argv[1:]

FENCED = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)

# They take their time, or change the system; what is looked at instead is said below.
WORDS = {'demo', 'test', 'docs', 'bench'}

LIBRARY = os.path.join(BUILD, 'zcio', 'libzcio-1.so.0')
PKG_CONFIG = shutil.which('pkg-config')

DRIVER = '''
int
main (int argc, char **argv)
{
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocketConnection) connection =
    g_socket_client_connect_to_host (client, "127.0.0.1", atoi (argv[1]), NULL, &error);

  g_autoptr (GMappedFile) file = g_mapped_file_new (argv[2], FALSE, NULL);
  g_autoptr (GBytes) bytes = g_mapped_file_get_bytes (file);

  g_assert_no_error (error);
  g_assert_true (send_bytes (connection, bytes, NULL, &error));
  return 0;
}
'''


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding='utf-8') as opened:
        return opened.read()


def pages():
    yield 'README.md', read('README.md')
    yield 'CONTRIBUTING.md', read('CONTRIBUTING.md')
    for path in sorted(glob.glob(os.path.join(SOURCE, 'docs', 'guide', '*.md'))):
        name = os.path.relpath(path, SOURCE)
        yield name, read(name)


def blocks_of_commands(text):
    """Lists of lines that are indented, outside of fences and lists"""
    text = FENCED.sub('', text)
    for block in re.findall(r'(?<=\n\n)((?:    .*\n)+)', text):
        yield [line.strip() for line in block.splitlines()]


def programs_of(text, language):
    return [code for kind, code in FENCED.findall(text) if kind == language]


def run(command, environment=None, timeout=200):
    done = subprocess.run(command, text=True, timeout=timeout, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in done.stdout.splitlines()[-5:]:
        print('# ' + line)
    return done


def compile_c(path, target):
    """With the flags of gio-2.0, as if zcio were installed"""
    flags = subprocess.run([PKG_CONFIG, '--cflags', '--libs', 'gio-2.0'], text=True, check=True,
                           stdout=subprocess.PIPE).stdout.split()
    return run([CC, path, '-o', target, '-Wall', '-Werror', '-I' + SOURCE, '-I' + BUILD,
                '-L' + os.path.join(BUILD, 'zcio'), '-lzcio-1',
                '-Wl,-rpath,' + os.path.join(BUILD, 'zcio'), *flags])


class Readme(unittest.TestCase):
    def test_fits_one_screen(self):
        self.assertLessEqual(len(read('README.md').splitlines()), 80)

    def test_pictures_and_files(self):
        text = read('README.md')
        for name in re.findall(r'\]\(([^):]+)\)', text) + re.findall(r'`([A-Z]+(?:\.md)?|docs/\w+/)`', text):
            if name != 'ENOBUFS':
                with self.subTest(name=name):
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, name)))

    @unittest.skipIf(PKG_CONFIG is None, 'no pkg-config')
    def test_c(self):
        code, = programs_of(read('README.md'), 'c')
        with tempfile.TemporaryDirectory() as directory:
            source = os.path.join(directory, 'send.c')
            with open(source, 'w', encoding='utf-8') as opened:
                opened.write('#include <stdlib.h>\n' + code + DRIVER)
            done = compile_c(source, os.path.join(directory, 'send'))
            self.assertEqual(done.returncode, 0, done.stdout)
            sink = Sink()
            try:
                done = run([os.path.join(directory, 'send'), str(sink.port), source])
            finally:
                results = sink.close()
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertEqual([size for size, _, _ in results], [os.path.getsize(source)])

    @unittest.skipUnless('GI_TYPELIB_PATH' in os.environ and os.path.exists(
        os.path.join(BUILD, 'introspection', 'Zcio-1.typelib')), 'no introspection')
    def test_python(self):
        code, = programs_of(read('README.md'), 'python')
        self.assertIn('"localhost", 5000', code)
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, 'send.py')
            sink = Sink()
            with open(path, 'w', encoding='utf-8') as opened:
                opened.write(code.replace('5000', str(sink.port)))
            try:
                done = run([sys.executable, '-c', RUN_SCRIPT, path])
            finally:
                results = sink.close()
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertEqual([size for size, _, _ in results], [1 << 20])


class Commands(unittest.TestCase):
    def test_all_are_known(self):
        """Each indented line begins with something that another case here runs"""
        known = ('./run ', './getting-started ', 'cc getting-started.c ', 'meson ', 'python3 getting-started.py ',
                 'sysctl ', 'ulimit ', 'zcio ', 'G_MESSAGES_DEBUG=Zcio zcio demo', 'ZCIO_DEBUG=all zcio demo',
                 'area: What changed', 'Why, in a few lines')
        for name, text in pages():
            for block in blocks_of_commands(text):
                for line in filter(None, block):
                    with self.subTest(page=name, line=line):
                        self.assertTrue(line.startswith(known))

    def test_all_fenced_code_is_known(self):
        """Programs of the guide are files of their own; what is fenced is run here or below"""
        for name, text in pages():
            for language, code in FENCED.findall(text):
                with self.subTest(page=name, code=code.splitlines()[0]):
                    if name == 'README.md':
                        self.assertIn(language, ('c', 'python'))
                    else:
                        self.assertTrue(language == '' or name.endswith('one-line.md'))

    def test_words(self):
        """The words of ./run exist; those that take long are run by whoever reads"""
        words = {word for _, text in pages() for word in re.findall(r'\./run (\w+)', text)}
        self.assertTrue(words >= WORDS)
        listed = run([os.path.join(SOURCE, 'run'), 'help']).stdout
        for word in sorted(words):
            with self.subTest(word=word):
                self.assertRegex(listed, r'(?m)^  ' + word + r'\b')

    def test_options_of_the_benchmark(self):
        program = os.path.join(BUILD, 'tests', 'benchmarks', 'zcio-benchmark')
        if not os.path.exists(program):
            self.skipTest('zcio-benchmark is not built here')
        text = read('docs', 'guide', 'when-it-pays.md')
        commands = re.findall(r'^\./run bench (.*)$', text, re.MULTILINE)
        self.assertTrue(commands)
        for arguments in commands:
            with self.subTest(arguments=arguments):
                self.assertEqual(run([program, '--list', *arguments.split()]).returncode, 0)

    @unittest.skipIf(PKG_CONFIG is None, 'no pkg-config')
    def test_getting_started(self):
        """The commands of the first chapter, one after the other"""
        text = read('docs', 'guide', 'getting-started.md')
        lines = [line for block in blocks_of_commands(text) for line in block]
        self.assertEqual([line.split()[0] for line in lines], ['cc', 'zcio', './getting-started', 'zcio', 'python3'])
        self.assertEqual(lines[3], lines[1])
        self.assertEqual(shlex.split(lines[0])[:4], ['cc', 'getting-started.c', '-o', 'getting-started'])
        if not TOOL:
            self.skipTest('the program zcio is not built here')
        with tempfile.TemporaryDirectory() as directory:
            program = os.path.join(directory, 'getting-started')
            snippet = os.path.join(SOURCE, 'docs', 'snippets', 'getting-started.c')
            self.assertEqual(compile_c(snippet, program).returncode, 0)
            arguments = [word.replace('5000', '0') for word in lines[1].split('>')[0].split()[1:]]
            with open(os.path.join(directory, 'received'), 'wb') as received, \
                 subprocess.Popen([TOOL[0], *arguments], stdout=received, stderr=subprocess.PIPE) as receiver:
                port = re.search(rb':(\d+)', receiver.stderr.readline()).group(1).decode()
                arguments = [word.replace('5000', port) for word in lines[2].split()[1:]]
                self.assertEqual(run([program, *arguments]).returncode, 0)
                receiver.communicate(timeout=60)
                self.assertEqual(os.fstat(received.fileno()).st_size, 6 + (64 << 20))
                self.assertEqual(receiver.returncode, 0)

    def test_tool(self):
        """Commands of zcio that need no other side"""
        if not TOOL:
            self.skipTest('the program zcio is not built here')
        lines = [line for _, text in pages() for block in blocks_of_commands(text) for line in block]
        alone = [line for line in lines if re.search(r'\bzcio (demo|doctor)\b', line)]
        self.assertEqual(len(alone), 3)
        environment = {name: value for name, value in os.environ.items() if name != 'G_DEBUG'}
        for line in alone:
            with self.subTest(line=line):
                variables = dict(word.split('=') for word in line.split() if re.match(r'[A-Z_]+=', word))
                words = line.split()[len(variables) + 1:]
                # The demo would look for the largest file of the system
                words += [LIBRARY] if 'demo' in words else []
                done = run([TOOL[0], *words], {**environment, **variables})
                # The doctor's status is what it has found: 9 is a host that does not suit
                self.assertIn(done.returncode, (0, 9) if 'doctor' in words else (0,), done.stdout)
                if 'G_MESSAGES_DEBUG' in variables:
                    self.assertRegex(done.stdout, 'Zcio-DEBUG: .*: zero-copy: ')

    def test_files(self):
        """The commands of the chapter on files"""
        lines = [line for block in blocks_of_commands(read('docs', 'guide', 'files.md')) for line in block]
        self.assertEqual([line.split()[1] for line in lines], ['receive', 'send'])
        if not TOOL:
            self.skipTest('the program zcio is not built here')
        arguments = [word.replace('5001', '0') for word in lines[0].split('>')[0].split()[1:]]
        with subprocess.Popen([TOOL[0], *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as receiver:
            port = re.search(rb':(\d+)', receiver.stderr.readline()).group(1).decode()
            path = lines[1].split()[-1]
            path = path if os.path.exists(path) else __file__
            arguments = [word.replace('5001', port) for word in lines[1].split()[1:-1]]
            self.assertEqual(run([TOOL[0], *arguments, path]).returncode, 0)
            output, _ = receiver.communicate(timeout=60)
            self.assertEqual(len(output), os.path.getsize(path))

    def test_limits(self):
        """The commands of the chapter on ENOBUFS; nothing is set here"""
        text = read('docs', 'guide', 'enobufs.md')
        names = re.findall(r'^    sysctl (?:-w )?([\w.]+)', text, re.MULTILINE)
        self.assertEqual(len(names), 2)
        for name in names:
            self.assertTrue(os.path.exists('/proc/sys/' + name.replace('.', '/')))
        self.assertIn('    ulimit -l\n', text)
        self.assertEqual(run(['bash', '-c', 'ulimit -l']).returncode, 0)

    def test_probes(self):
        """The probes that the guide names are those that the library has"""
        readelf = shutil.which('readelf')
        if readelf is None:
            self.skipTest('no readelf')
        notes = subprocess.run([readelf, '--notes', LIBRARY], text=True, check=True,
                               stdout=subprocess.PIPE).stdout
        there = set(re.findall(r'Provider: zcio\n\s*Name: (\w+)', notes))
        if not there:
            self.skipTest('built without probes')
        text = read('docs', 'guide', 'debugging.md')
        self.assertEqual(set(re.findall(r'usdt:LIBRARY:zcio:(\w+)', text)), there)
        self.assertEqual(set(re.findall(r'^\| `(\w+)` \| .* \| .* \|$', text, re.MULTILINE)), there)


if __name__ == '__main__':
    tap.main()
