// The button to practise on: a real MicroPython (WebAssembly) behind tcp:// or a pseudo-terminal.
//
// This file is the board around it: power, reset, the clock's ticks, the UART with its 255 bytes, the flash (a folder,
// with FAT's way of renaming), and the faults that it is asked for. README.md has the options.

import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import readline from "node:readline";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadMicroPython } from "@micropython/micropython-webassembly-pyscript/micropython.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const BANNER = "MicroPython v1.9.3-548-gd12483d-dirty on 2018-04-18; ESP module with ESP8266";
const RX_MAX = 255; // What the UART holds while the program is busy.
const SOURCE_MAX = 1024; // More source than this and the heap has no room for the line.
const WATCHDOG_MS = 3000;
const CONFIG_FILES = /^(config\.json.*|.*\.(new|old|tmp|bak))$/;

// The old names of the modules, and what this MicroPython lacks.
const PRELUDE = `
def _prelude():
    import sys, os
    class _Os: pass
    for name in dir(os):
        setattr(_Os, name, getattr(os, name))
    def uname():
        from collections import namedtuple
        return namedtuple('uname', ('sysname', 'nodename', 'release', 'version', 'machine'))(
            'esp8266', 'esp8266', '2.0.0(5a875ba)', 'v1.9.3-548-gd12483d-dirty on 2018-04-18', 'ESP module with ESP8266')
    _Os.uname = uname
    sys.modules['os'] = _Os
    sys.modules['uos'] = _Os
_prelude()
del _prelude
`;

const OPTIONS = {
  port: { type: "string", default: "tcp" }, // tcp, tcp:NUMBER or pty
  folder: { type: "string" },
  slots: { type: "string", default: "1" },
  boards: { type: "string", default: "1" },
  swap: { type: "string", default: "1000" }, // How long the slot is empty between two boards, in ms.
  firmware: { type: "string", default: "old" },
  second: { type: "string", default: "1000" }, // The board's second, in ms.
  noise: { type: "boolean", default: false },
  seed: { type: "string", default: "1" },
  deaf: { type: "string", default: "0" },
  boot: { type: "string", default: "0" }, // How long it takes to start, in ms.
  lag: { type: "string", default: "0" }, // What came while it started is taken a byte at a time, each after so many ms.
  cut: { type: "string" },
  "cut-in-rename": { type: "string" },
  "cut-op": { type: "string" },
  "flash-ms": { type: "string", default: "0" },
  "run-ms": { type: "string", default: "0" },
  held: { type: "boolean", default: false },
  "no-bak": { type: "boolean", default: false },
  corrupt: { type: "boolean", default: false },
  forgets: { type: "boolean", default: false },
  unit: { type: "string", default: "0" }, // Boards of two practice buttons at work for one service need two numbers, below 2 ** 16.
  slot: { type: "string" }, // Inner: this process is one slot of several.
};
const optionsIn = (words) => parseArgs({ args: words, options: OPTIONS }).values;
const options = optionsIn(process.argv.slice(2));
if (!options.folder) {
  console.error("practice button: --folder DIR says where its flash is kept");
  process.exit(2);
}

const slots = Number(options.slots);
if (slots > 1 && !options.slot) {
  // One process a slot: they work at the same time.
  for (let slot = 1; slot <= slots; slot++) {
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...process.argv.slice(2), "--slot", String(slot)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    child.on("exit", (code, signal) => console.error(`slot ${slot} ended (${signal ?? code})`));
  }
} else {
  await slotProcess(Number(options.slot ?? 1));
}

async function slotProcess(slot) {
  process.on("disconnect", () => process.exit(0));
  const bench = { board: await switchedOn(new Board(slot, options)) };
  await (options.port === "pty" ? overPty(bench) : overTcp(bench, Number(options.port.split(":")[1] ?? 0)));
  console.log(bench.port);
  // The hand at the bench; the end of stdin takes all away.
  if (options.slot) return;
  const hand = {
    press: () => bench.board.press(),
    next: () => bench.board.next(),
    cut: () => bench.board.cut(),
    out: () => {
      bench.board.takeOut();
      console.log("out");
    },
    // Another board, as told by options in JSON; says the port again when it is there.
    board: async (words) => {
      bench.board.takeOut();
      bench.hangUp();
      bench.board = await switchedOn(new Board(slot, optionsIn(JSON.parse(words))));
      bench.board.send = bench.send;
      console.log(bench.port);
    },
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [, word, rest] = line.match(/^(\S*) ?(.*)$/);
    await hand[word]?.(rest);
  }
  if (!process.stdin.isTTY) process.exit(0);
}

async function switchedOn(board) {
  await board.powerOn();
  return board;
}

function overTcp(bench, wanted) {
  let line = null;
  bench.hangUp = () => line?.destroy();
  bench.send = bench.board.send = (bytes) => line?.write(bytes);
  const server = net.createServer((socket) => {
    line?.destroy();
    line = socket;
    socket.setNoDelay(true);
    socket.on("data", (data) => line === socket && bench.board.receive(data));
    socket.on("error", () => {});
    socket.on("close", () => {
      if (line === socket) line = null;
    });
    bench.board.flushBoot();
    bench.board.press();
  });
  return new Promise((done) =>
    server.listen(wanted, "127.0.0.1", () => {
      bench.port = `tcp://127.0.0.1:${server.address().port}`;
      done();
    }),
  );
}

function overPty(bench) {
  // A small bridge in Python: node itself can't open a pseudo-terminal.
  const bridge = spawn("python3", [path.join(HERE, "pty_bridge.py")], { stdio: ["pipe", "pipe", "pipe"] });
  bench.hangUp = () => {};
  bench.send = bench.board.send = (bytes) => bridge.stdin.write(bytes);
  bridge.stdout.on("data", (data) => bench.board.receive(data));
  bridge.on("exit", () => process.exit(1));
  return new Promise((done) =>
    bridge.stderr.once("data", (name) => {
      bench.port = String(name).trim();
      bench.board.flushBoot();
      done();
    }),
  );
}

function Board(slot, options) {
  const second = Number(options.second);
  const home = path.join(options.folder, `slot-${slot}`);
  const currentFile = path.join(home, "current");
  fs.mkdirSync(home, { recursive: true });
  let number = fs.existsSync(currentFile) ? Number(fs.readFileSync(currentFile, "utf8")) : 1;
  let micropython = null;
  let generation = 0;
  let on = false;
  let resetWanted = false;
  let offWanted = false;
  let timerRuns = false;
  let deafUntil = 0;
  let late = 0; // So many of the bytes that wait came while it started.
  let lagUntil = 0;
  let raw = false;
  let source = []; // The line that the raw REPL has so far.
  let paste = null; // The raw paste that is under way: { source, credit }.
  let queue = [];
  let busy = false;
  let capture = null;
  let held = [];
  let hostBytes = 0;
  let operations = 0;
  let lastByte = 0;
  let wasCut = false;
  let isOut = false;
  let dice = Number(options.seed) >>> 0;
  this.send = null;

  const random = () => {
    dice = (Math.imul(dice, 1664525) + 1013904223) >>> 0;
    return dice / 2 ** 32;
  };
  const folder = () => path.join(home, `board-${number}`);
  const hex = (value, width) => value.toString(16).padStart(width, "0");
  const mac = () => `5c${hex(Number(options.unit), 4)}${hex(slot, 2)}${hex(number, 4)}`;
  // The power fails, once: whatever the program still does, nothing of it reaches the line or the flash.
  const cut = () => {
    if (wasCut) return;
    wasCut = true;
    off();
    console.log("cut");
  };
  const off = () => {
    on = false;
    generation += 1;
    micropython = null;
    timerRuns = false;
    queue = [];
  };
  const transmit = (bytes) => {
    if (!on) return;
    if (this.send) this.send(Buffer.from(bytes));
    else held.push(...bytes);
  };
  const say = (text) => transmit(Buffer.from(text, "latin1"));
  this.flushBoot = () => {
    if (held.length) transmit(held.splice(0));
  };

  // What MicroPython prints, a byte a call; newlines as on the UART.
  const output = (bytes) => {
    if (!on || resetWanted) return;
    for (const byte of bytes) {
      const sent = byte === 10 && lastByte !== 13 ? [13, 10] : [byte];
      lastByte = byte;
      if (capture) capture.push(...sent);
      else transmit(sent);
      if (byte === 10 && !capture && options.noise && busy && raw && random() < 0.5) noise();
    }
  };
  const noise = () => say(["webrepl: noise > 1\r\n", "WebREPL is not configured\r\n", "OK\r\n", "5 sec\r\n"][Math.floor(random() * 4)]);

  globalThis.practiceButton = {
    // The capacitors last until the program that let go has answered.
    off: () => void (offWanted = true),
    reset: () => void (resetWanted = true),
    timer: (runs) => void (timerRuns = runs),
    // Deaf, not dumb: it counts the seconds.
    deaf: (seconds) => {
      deafUntil = Date.now() + seconds * second;
      const mine = generation;
      for (let left = seconds; left > 0; left--) {
        setTimeout(() => mine === generation && say(`Wait for STA WLAN:  ${left}\r\n`), (seconds - left) * second);
      }
    },
    held: () => options.held,
    mac,
  };

  // One step of the flash: counted, may take its time, may be the last.
  const operation = () => {
    operations += 1;
    if (options["cut-op"] && operations === Number(options["cut-op"])) cut();
    pause(Number(options["flash-ms"]));
  };
  const pause = (ms) => ms > 0 && Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  const flashFile = (name) => path.join(folder(), path.basename(name));
  const isOnFlash = (name) => typeof name === "string" && CONFIG_FILES.test(path.basename(name)) && path.dirname(name) === "/";
  const keep = (mp, name) => {
    if (!on || resetWanted || !isOnFlash(name)) return;
    fs.writeFileSync(flashFile(name), mp.FS.readFile(name));
  };

  const mountFlash = (mp) => {
    if (!fs.existsSync(folder())) {
      fs.mkdirSync(folder(), { recursive: true });
      fs.copyFileSync(path.join(HERE, "flash/config.json"), flashFile("config.json"));
      if (!options["no-bak"]) fs.copyFileSync(flashFile("config.json"), flashFile("config.json.bak"));
    }
    for (const name of fs.readdirSync(path.join(HERE, "flash"))) {
      if (name.endsWith(".py")) mp.FS.writeFile(`/${name}`, fs.readFileSync(path.join(HERE, "flash", name)));
    }
    for (const name of fs.readdirSync(folder())) mp.FS.writeFile(`/${name}`, fs.readFileSync(flashFile(name)));
    const { open, write, close, rename, unlink } = mp.FS;
    mp.FS.open = (...args) => {
      const stream = open.apply(mp.FS, args);
      // Emptied on opening; the stream itself does not say so any more.
      if (isOnFlash(stream.path) && args[1] & 0o1000) {
        operation();
        keep(mp, stream.path);
      }
      return stream;
    };
    mp.FS.write = (stream, ...args) => {
      const count = write.call(mp.FS, stream, ...args);
      if (isOnFlash(stream.path)) {
        operation();
        keep(mp, stream.path);
      }
      return count;
    };
    mp.FS.close = (stream) => {
      close.call(mp.FS, stream);
      if (stream.flags & 3 && isOnFlash(stream.path)) keep(mp, stream.path);
    };
    const absolute = (name) => path.posix.resolve("/", name);
    mp.FS.unlink = (name) => {
      operation();
      unlink.call(mp.FS, name);
      if (on && !resetWanted && isOnFlash(absolute(name))) fs.rmSync(flashFile(name), { force: true });
    };
    // FAT: an existing target is removed first, then the entry gets its new name.
    mp.FS.rename = (from, to) => {
      operation();
      const live = () => on && !resetWanted;
      if (mp.FS.analyzePath(absolute(to)).exists) {
        unlink.call(mp.FS, absolute(to));
        if (live()) fs.rmSync(flashFile(to), { force: true });
      }
      if (options["cut-in-rename"] === "before") cut();
      operation();
      rename.call(mp.FS, from, to);
      if (live()) fs.renameSync(flashFile(from), flashFile(to));
      if (options["cut-in-rename"] === "after") cut();
    };
  };

  const start = async ({ main = true, intoRaw = false } = {}) => {
    const mine = ++generation;
    micropython = null;
    resetWanted = false;
    timerRuns = false;
    paste = null;
    source = [];
    raw = false;
    const mp = await loadMicroPython({ heapsize: 128 * 1024, stdin: () => null, stdout: output, stderr: output, linebuffer: false });
    if (Number(options.boot) > 0) await new Promise((done) => setTimeout(done, Number(options.boot)));
    if (mine !== generation || !on) return;
    mountFlash(mp);
    mp.runPython(PRELUDE);
    if (main) {
      try {
        mp.runPython("__import__('main')");
      } catch (error) {
        say(String(error.message).replaceAll("\n", "\r\n"));
      }
    }
    if (mine !== generation || !on) return;
    capture = [];
    mp.replInit();
    if (intoRaw) mp.replProcessChar(1);
    capture = null;
    micropython = mp;
    raw = intoRaw;
    say(intoRaw ? "raw REPL; CTRL-B to exit\r\n>" : `\r\n${BANNER}\r\nType "help()" for more information.\r\n>>> `);
    if (Number(options.deaf) > 0) deafUntil = Math.max(deafUntil, Date.now() + Number(options.deaf) * second);
    late = Number(options.lag) > 0 ? queue.length : 0;
    pump();
  };

  const corruptFlash = () => {
    if (!on || !options.corrupt) return;
    say("The FAT filesystem starting at sector 153 with size 98 sectors appears to be corrupted.\r\n");
    setTimeout(corruptFlash, 3 * second);
  };

  this.powerOn = async () => {
    if (isOut) return;
    on = true;
    queue = [];
    deafUntil = 0;
    fs.writeFileSync(currentFile, String(number));
    // The ROM speaks at another speed: garbage here.
    transmit([0x0d, 0x72, 0xfe, 0x8c, 0x04, 0x3e, 0x00, 0xe3, 0x6c, 0x1b, 0xff, 0x72, 0x01, 0x0a, 0x23, 0x92, 0x0d, 0x0a]);
    if (options.corrupt) corruptFlash();
    else await start();
  };
  this.press = () => {
    if (!on) this.powerOn();
  };
  this.cut = cut;
  this.takeOut = () => {
    isOut = true;
    off();
    clearInterval(clock);
  };
  this.next = () => {
    if (isOut) return;
    off();
    if (number < Number(options.boards)) {
      number += 1;
      this.powerOn();
    }
  };

  const clock = setInterval(() => {
    if (!on || !micropython || !timerRuns || Date.now() < deafUntil) return;
    try {
      micropython.runPython("__import__('machine')._tick()");
    } catch (error) {
      say(String(error.message).replaceAll("\n", "\r\n"));
    }
    afterwards();
  }, second);

  // From the line. What comes while the program is busy waits in 255 bytes; the rest is lost.
  let wasBusy = false;
  this.receive = (data) => {
    if (!on) return;
    const room = wasBusy || !micropython || Date.now() < deafUntil;
    for (const byte of data) {
      hostBytes += 1;
      if (options.cut && hostBytes === Number(options.cut)) {
        pump();
        cut();
        return;
      }
      if (!room || queue.length < RX_MAX) queue.push(byte);
    }
    pump();
  };

  const pump = () => {
    if (busy || !micropython) return;
    if (Date.now() < deafUntil) {
      setTimeout(pump, deafUntil - Date.now() + 1);
      return;
    }
    if (Date.now() < lagUntil) return;
    if (late > 0 && queue.length) {
      late -= 1;
      lagUntil = Date.now() + Number(options.lag);
      busy = true;
      take(queue.shift());
      busy = false;
      afterwards();
      setTimeout(pump, Number(options.lag) + 1);
      return;
    }
    busy = true;
    while (queue.length && on && micropython && !resetWanted && !offWanted) {
      if (take(queue.shift())) break;
    }
    busy = false;
    afterwards();
  };
  const afterwards = () => {
    if (on && offWanted) {
      offWanted = false;
      off();
      console.log("off");
      if (Number(options.boards) > 1) setTimeout(() => this.next(), Number(options.swap));
    }
    if (on && resetWanted) {
      queue = [];
      console.log("reset");
      if (options.forgets) fs.rmSync(folder(), { recursive: true });
      this.powerOn();
    }
  };

  // True: the program did something that takes long; what has come meanwhile is looked at first.
  const take = (byte) => {
    if (paste) return takePaste(byte);
    if (!raw) {
      if (byte === 4 && source.length === 0) return softReset(false);
      if (byte === 1) raw = true;
      if (byte === 13 || byte === 3 || byte === 1) source = [];
      else source.push(byte);
      micropython.replProcessChar(byte);
      return byte === 13 ? ran() : false;
    }
    if (byte === 1 && source[0] === 5 && source[1] === 0x41 && source.length === 2) {
      source = [];
      micropython.replProcessChar(3);
      if (options.firmware === "new") {
        paste = { source: [], left: 128 };
        transmit([0x52, 1, 0x80, 0, 1]);
        return false;
      }
      micropython.replProcessChar(1);
      return false;
    }
    if (byte === 2) {
      raw = false;
      source = [];
      capture = [];
      micropython.replProcessChar(2);
      capture = null;
      say(`\r\n${BANNER}\r\nType "help()" for more information.\r\n>>> `);
      return false;
    }
    if (byte === 4 && source.length === 0) return softReset(true);
    if (byte === 4) {
      source = [];
      pause(Number(options["run-ms"]));
      micropython.replProcessChar(4);
      return ran();
    }
    if (byte === 1 || byte === 3) source = [];
    else source.push(byte);
    if (source.length > SOURCE_MAX && options.firmware !== "new") return hang();
    micropython.replProcessChar(byte);
    return false;
  };
  const ran = () => {
    // Node sees what came meanwhile in its next turn.
    wasBusy = true;
    setImmediate(() =>
      setImmediate(() => {
        wasBusy = false;
        pump();
      }),
    );
    return true;
  };
  const takePaste = (byte) => {
    if (byte === 3 || byte === 4) {
      const text = paste.source;
      paste = null;
      transmit([4]);
      if (byte === 3) {
        say("\x04\x04>");
        return false;
      }
      capture = [];
      for (const one of text) micropython.replProcessChar(one);
      micropython.replProcessChar(4);
      const answer = capture.slice(2); // Without the `OK`.
      capture = null;
      transmit(answer);
      return ran();
    }
    paste.source.push(byte);
    if (--paste.left === 0) {
      paste.left = 128;
      transmit([1]);
    }
    return false;
  };
  const softReset = (intoRaw) => {
    say(intoRaw ? "OK\r\nPYB: soft reboot\r\n" : "PYB: soft reboot\r\n");
    if (timerRuns) {
      // The timer outlives the heap that its callback lives in.
      say("Fatal exception 28(LoadProhibitedCause):\r\nepc1=0x40100000\r\n");
      resetWanted = true;
      return true;
    }
    start({ main: !intoRaw, intoRaw });
    return true;
  };
  const hang = () => {
    say("NLR jump failed\r\n");
    micropython = null;
    queue = [];
    setTimeout(() => this.powerOn(), WATCHDOG_MS);
    return true;
  };
}
