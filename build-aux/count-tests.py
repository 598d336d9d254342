#!/usr/bin/python3
# count-tests.py - counts test cases, not programs, in the logs of `meson test`
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: count-tests.py LOG.json… [-- PROGRAM…]
#
# Prints each skip with its reason, each failure, and `N passed, N failed, N
# skipped`. A program fails as a whole (as one case) if it prints no plan, more
# cases than planned, or ends badly after its cases; each case that it announced
# and did not run is a failure. Fails if anything failed or nothing ran.

import json
import os
import re
import signal
import sys

RESULT = re.compile(r'^( *)(ok|not ok)\b *(\d+)?(?: *-)? *(.*)$')
PLAN = re.compile(r'^( *)1\.\.(\d+)(?: *# *(?:SKIP\S*)? *(.*))?$', re.IGNORECASE)
DIRECTIVE = re.compile(r'(?:^| )# *(SKIP|TODO)\S*:? *(.*)$', re.IGNORECASE)


class Program:
    """What one program's output says"""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.skipped = []
        self.failed = []

    def fail(self, what):
        self.failed.append((self.name, what))

    def read_result(self, ok, text):
        directive = DIRECTIVE.search(text)
        case = text[:directive.start()].strip() if directive else text.strip()
        kind = directive.group(1).upper() if directive else ''
        if kind == 'SKIP' and ok or kind == 'TODO' and not ok:
            self.skipped.append((self.name, case, directive.group(2) or 'no reason given'))
        elif ok and kind != 'TODO':
            self.passed += 1
        else:
            self.fail(case or 'a case without a name')

    def read_tap(self, output):
        # A line that sums up a subtest is less indented than the lines before it:
        # the cases inside count, the sum does not.
        plan = None
        top_level = inner = 0
        bailed_out = None
        for line in output.splitlines():
            result = RESULT.match(line)
            planned = PLAN.match(line)
            if result:
                indented = bool(result.group(1))
                if indented:
                    inner += 1
                else:
                    top_level += 1
                if not indented and inner:
                    inner = 0
                else:
                    self.read_result(result.group(2) == 'ok', result.group(4))
            elif planned and not planned.group(1):
                plan = int(planned.group(2))
                if plan == 0:
                    self.skipped.append((self.name, 'all of it', planned.group(3) or 'no reason given'))
            elif line.startswith('Bail out!'):
                bailed_out = line[len('Bail out!'):].strip() or 'no reason given'

        if plan is None:
            self.fail('printed no plan' + (': bailed out: ' + bailed_out if bailed_out else ''))
        elif top_level > plan:
            self.fail(f'printed {top_level} cases of {plan} planned')
        for _ in range(top_level, plan or 0):
            self.fail('a planned case did not run to its end' +
                      (': ' + bailed_out if bailed_out else ''))

    def read_ending(self, record):
        """Failures that no line of the output tells"""
        code = record.get('returncode')
        if self.failed:
            return
        if record['result'] == 'TIMEOUT':
            self.fail('timed out')
        elif record['result'] == 'INTERRUPT' or code is None:
            self.fail('was interrupted')
        elif code < 0:
            self.fail(f'was killed by {signal.Signals(-code).name}')
        elif code != 0:
            self.fail(f'ended with status {code}')
        elif record['result'] not in ('OK', 'SKIP'):
            self.fail(f'meson says {record["result"]}')


def read_record(record, label):
    program = Program(label + record['name'])
    output = record.get('stdout') or ''
    is_tap = any(RESULT.match(line) or PLAN.match(line) for line in output.splitlines())
    # What meson skips without the exit code for it is TAP without any case
    if is_tap or record['result'] == 'SKIP' and record.get('returncode') != 77:
        program.read_tap(output)
        program.read_ending(record)
    elif record.get('returncode') == 77:
        reason = output.strip().splitlines()[-1:] or ['no reason given']
        program.skipped.append((program.name, 'all of it', reason[0]))
    else:
        program.read_ending(record)
        program.passed += not program.failed
    return program


def main(arguments):
    logs, wanted = arguments, []
    if '--' in arguments:
        at = arguments.index('--')
        logs, wanted = arguments[:at], arguments[at + 1:]

    programs = []
    names = set()
    for log in logs:
        try:
            with open(log, encoding='utf-8', errors='replace') as lines:
                records = [json.loads(line) for line in lines]
        except FileNotFoundError:
            records = []
        label = os.path.basename(log)[len('run-'):-len('.json')] + ': ' if len(logs) > 1 else ''
        if not records:
            program = Program(label or log)
            program.fail('no test ran')
            programs.append(program)
        for record in records:
            # "project:suite / name" where there are suites
            record['name'] = record['name'].rsplit(' / ', 1)[-1]
            names.add(record['name'])
            programs.append(read_record(record, label))
    for name in wanted:
        if name not in names:
            program = Program(name)
            program.fail('there is no test program of this name')
            programs.append(program)

    failed = [case for program in programs for case in program.failed]
    skipped = [case for program in programs for case in program.skipped]
    print()
    for name, case, reason in skipped:
        print(f'skipped: {name}: {case}: {reason}')
    for name, what in failed:
        print(f'FAILED: {name}: {what}')
    print(f'{sum(program.passed for program in programs)} passed, '
          f'{len(failed)} failed, {len(skipped)} skipped')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
