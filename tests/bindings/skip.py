#!/usr/bin/python3
# skip.py - stands in for a test that cannot run here
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: skip.py REASON

import sys

print('1..0 # SKIP ' + sys.argv[1])
