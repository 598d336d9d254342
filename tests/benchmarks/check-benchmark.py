# check-benchmark.py - runs the benchmark for a moment and looks at what it says
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-benchmark.py BENCHMARK HAVE_GNUPLOT

import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import tap

BENCHMARK = sys.argv.pop(1)
HAVE_GNUPLOT = sys.argv.pop(1) == 'yes'

# One round of very little: no figure here means anything
BRIEFLY = ['--rounds=1', '--scale=0.02']


def benchmark(directory, *args, env=None):
    path = os.path.join(directory, 'results.json')
    result = subprocess.run([BENCHMARK, *BRIEFLY, '--json=' + path, *args], text=True, timeout=100,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
    if result.returncode:
        raise AssertionError(f'exit code {result.returncode}: {result.stdout}')
    with open(path, encoding='utf-8') as file:
        return result.stdout, json.load(file)


class Benchmark(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def check_result(self, result):
        if 'failure' in result:
            # Where the kernel or its owner does not want io_uring
            self.assertEqual(result['contender'], 'io-uring', result['failure'])
            return
        if result['work'] == 'idle':
            self.assertGreater(result['bytes-per-stream']['median'], 0)
            return
        self.assertEqual(len(result['samples']), 1)
        sample = result['samples'][0]
        self.assertGreater(sample['bytes'], 0)
        self.assertGreater(sample['user-seconds'] + sample['system-seconds'], 0)
        if result['contender'] == 'zerocopy':
            self.assertGreater(sample['notifications'], 0)
            self.assertGreater(sample['peak-bytes-in-flight'], 0)

    def test_works(self):
        """All contenders get through all works, with figures in all places"""
        output, report = benchmark(self.directory, '--parameter=64', '--parameter=262144', '--parameter=2',
                                   '--parameter=1048576', '--parameter=256')
        works = {result['work'] for result in report['results']}
        self.assertEqual(works, {'write', 'migrate', 'fan-out', 'splice', 'small', 'main-loop',
                                 'loopback', 'loopback-splice', 'idle'})
        for result in report['results']:
            with self.subTest(work=result['work'], contender=result['contender']):
                self.check_result(result)

    def test_wire(self):
        """On the wire nothing is copied, and the same work costs each contender the same bytes"""
        output, report = benchmark(self.directory, '--work=write', '--parameter=262144')
        if not report['wire']:
            self.skipTest('no wire here: ' + output.splitlines()[0])
        for result in report['results']:
            self.assertEqual(result['place'], 'wire')
        samples = {result['contender']: result['samples'][0] for result in report['results']}
        self.assertEqual(samples['zerocopy']['copied-sends'], 0)
        self.assertEqual(len({sample['bytes'] for sample in samples.values()}), 1)

    def test_loopback(self):
        """Without the wire the rest is done on loopback, and that is said"""
        output, report = benchmark(self.directory, '--wire=/nonexistent', '--work=write', '--parameter=262144',
                                   env={name: value for name, value in os.environ.items()
                                        if name != 'ZCIO_WIRE_ADDRESS'})
        self.assertIn('Lacking: a wire', output)
        self.assertIn('on the loopback', output)
        self.assertFalse(report['wire'])
        for result in report['results']:
            self.assertEqual(result['place'], 'loopback')
            if result['contender'] == 'zerocopy':
                self.assertGreater(result['samples'][0]['copied-sends'], 0)

    @unittest.skipUnless(HAVE_GNUPLOT, 'no gnuplot here')
    def test_plot(self):
        """The picture is an SVG"""
        path = os.path.join(self.directory, 'plot.svg')
        benchmark(self.directory, '--loopback', '--work=write', '--work=splice', '--plot=' + path,
                  '--parameter=65536', '--parameter=262144', '--parameter=67108864')
        root = xml.etree.ElementTree.parse(path).getroot()
        self.assertEqual(root.tag, '{http://www.w3.org/2000/svg}svg')

    def test_bad_options(self):
        """What makes no sense is refused"""
        for option in ['--rounds=0', '--scale=0', '--scale=-1', '--scale=nan', '--nonsense']:
            with self.subTest(option=option):
                result = subprocess.run([BENCHMARK, option], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
                self.assertEqual(result.returncode, 2)


if __name__ == '__main__':
    tap.main()
