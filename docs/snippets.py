# snippets.py - what the manual shows of a file
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import re
import textwrap

HEAD = re.compile(r'\A(?:#!.*\n)?(?:/\*[\s\S]*?\*/\n|(?:#.*\n)+)\n*')


def read(path, region=None):
    """The file without its first comment, or what lies between the comments
    "REGION {" and "} REGION" """
    with open(path, encoding='utf-8') as opened:
        text = opened.read()
    if region is None:
        text = HEAD.sub('', text, count=1)
        text = re.sub(r'^.*(?:/\*|#) (?:[\w-]+ \{|\} [\w-]+)(?: \*/)?\n', '', text,
                      flags=re.MULTILINE).strip('\n')
        if not text:
            raise SystemExit(f'{path}: nothing to show')
        return text
    match = re.search(r'^[ \t]*(?:/\*|#) ' + re.escape(region) + r' \{(?: \*/)?\n(.*?)'
                      r'^[ \t]*(?:/\*|#) \} ' + re.escape(region) + r'(?: \*/)?$',
                      text, re.DOTALL | re.MULTILINE)
    if match is None:
        raise SystemExit(f'{path}: no region {region}')
    return textwrap.dedent(match.group(1)).strip('\n')
