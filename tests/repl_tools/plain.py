"""A settings file onto a MicroPython board, as a careful engineer scripts it: the comparison of `tests/bench device`.

Enters the raw REPL, writes all of the file into a new one in pieces, reads it back and hashes it on the board, compares
the hash, renames. It knows nothing of what may go wrong: no repair, no retry, no backup, no other settings kept than those
in the file that it is given.

    plain.py PORT FILE
"""

import binascii
import hashlib
import sys

import serial

PIECE_BYTES = 120  # As base64 and with what is around it, less than the 255 bytes that a board holds.


class Board:
    def __init__(self, port):
        self.port = serial.Serial(port, 115200, timeout=5, exclusive=True)

    def until(self, end):
        seen = self.port.read_until(end)
        if not seen.endswith(end):
            raise SystemExit("the board does not answer")
        return seen[: -len(end)]

    def enter(self):
        self.port.write(b"\r\x03\r\x01")
        self.until(b"raw REPL; CTRL-B to exit\r\n>")

    def run(self, source):
        self.port.write(source.encode() + b"\x04")
        self.until(b"OK")
        said = self.until(b"\x04")
        failed = self.until(b"\x04>")
        if failed:
            raise SystemExit(failed.decode(errors="replace"))
        return said.decode().strip()


def main():
    port, path = sys.argv[1:]
    with open(path, "rb") as file:
        content = file.read()
    board = Board(port)
    board.enter()
    board.run("import uos,ubinascii as ub,uhashlib\nf=open('config.json.new','wb')")
    for at in range(0, len(content), PIECE_BYTES):
        text = binascii.b2a_base64(content[at : at + PIECE_BYTES], newline=False).decode()
        board.run(f"f.write(ub.a2b_base64(b'{text}'))")
    board.run("f.close()")
    found = board.run(
        "h=uhashlib.sha256()\nwith open('config.json.new','rb') as f:\n while 1:\n  p=f.read(256)\n  if not p:break\n"
        "  h.update(p)\nprint(ub.hexlify(h.digest()).decode())"
    )
    if found != hashlib.sha256(content).hexdigest():
        raise SystemExit("what the board holds is not what was written")
    board.run("uos.rename('config.json.new','config.json')")
    board.port.write(b"\x02")


if __name__ == "__main__":
    main()
