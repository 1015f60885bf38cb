"""What a line engineer's own script does: csv, python-stdnum, a set for duplicates. One policy, one encoding, no explanation.

python check.py sevens|imei FILE
"""

import csv
import re
import sys

from stdnum import imei
from stdnum.exceptions import InvalidComponent, InvalidFormat, ValidationError
from stdnum.util import clean, isdigits

FORM = re.compile(r"QD-([0-9]{7})\Z")


def sevens(text):
    """The policy multiples-of-7, as stdnum's modules are written."""
    serial = clean(text).strip().upper()
    match = FORM.match(serial)
    if not match or not isdigits(match.group(1)):
        raise InvalidFormat()
    number = int(match.group(1))
    if number % 7 or not 10_000 <= number <= 9_999_999:
        raise InvalidComponent()
    return serial


def main():
    validate = {"sevens": sevens, "imei": imei.validate}[sys.argv[1]]
    seen, good, bad = set(), 0, 0
    with open(sys.argv[2], newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        column = next(rows).index("serial")
        for row in rows:
            try:
                serial = validate(row[column])
            except ValidationError as error:
                bad += 1
                print(f"line {rows.line_num}: {error}")
                continue
            if serial in seen:
                bad += 1
                print(f"line {rows.line_num}: twice")
            seen.add(serial)
            good += 1
    print(f"{good} good, {bad} bad")
    return 2 if bad else 0


sys.exit(main())
