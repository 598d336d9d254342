# tap.py - runs the cases of a unittest program and prints TAP
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# unittest.main () of a program in build-aux/ or tests/: `tap.main ()`

import sys
import unittest


class TapResult(unittest.TestResult):
    """Prints a line of TAP for each case"""

    number = 0
    subtest_failed = False

    def line(self, ok, test, text='', directive=''):
        self.number += 1
        for line in text.splitlines():
            print('# ' + line)
        print(f'{"ok" if ok else "not ok"} {self.number} {test.id().split(".", 1)[1]}{directive}',
              flush=True)

    def addSuccess(self, test):
        self.line(True, test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.line(False, test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.line(False, test, self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line(True, test, directive=' # SKIP ' + reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            print(f'# {subtest.id()}')
            for line in self._exc_info_to_string(err, test).splitlines():
                print('# ' + line)
            self.subtest_failed = True

    def startTest(self, test):
        super().startTest(test)
        self.subtest_failed = False

    def stopTest(self, test):
        # Unittest reports the failed parts of a case, but then not the case itself
        if self.subtest_failed:
            self.line(False, test)
        super().stopTest(test)


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__'])
    print(f'1..{suite.countTestCases()}')
    sys.exit(0 if suite.run(TapResult()).wasSuccessful() else 1)
