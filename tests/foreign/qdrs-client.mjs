// A client of the QDRS service, written from qdrs-service/PROTOCOL.md alone.
//
// The access code and its keys (section 1), signed requests (section 3), the opening of a credential (section 5), and
// what to do with a refusal (section 6). What is kept on disk, and when (section 4), is the caller's part.

import { createHash, createPrivateKey, createPublicKey, hkdfSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Aes128Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { createSigner, httpbis } from "http-message-signatures";

export const BECH32_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const BECH32M = 0x2bc830a3;
const GENERATORS = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const INFO = new TextEncoder().encode("qdrs/v1 device connection string");
const SUITE = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes128Gcm() });
// What stands before the 32 bytes of a private key in PKCS #8 (RFC 8410).
const ED25519_PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const TRIES = 6;

function bech32Checksum(values) {
  let check = 1;
  for (const value of values) {
    const top = check >>> 25;
    check = ((check & 0x1ffffff) << 5) ^ value;
    GENERATORS.forEach((generator, bit) => {
      if ((top >>> bit) & 1) check ^= generator;
    });
  }
  return check >>> 0;
}

/** The bytes of a bech32m string with this prefix. */
function decodeBech32m(text, prefix) {
  if (text !== text.toLowerCase() && text !== text.toUpperCase()) throw new Error("capital and small letters are mixed");
  const lower = text.toLowerCase();
  const separator = lower.lastIndexOf("1");
  if (separator < 0 || lower.slice(0, separator) !== prefix) throw new Error(`it does not begin with \`${prefix}1\``);
  const values = [...lower.slice(separator + 1)].map((character) => BECH32_CHARACTERS.indexOf(character));
  if (values.includes(-1)) throw new Error("it has a character that bech32 does not have");
  const letters = [...Buffer.from(prefix, "ascii")];
  const expanded = [...letters.map((byte) => byte >> 5), 0, ...letters.map((byte) => byte & 31)];
  if (bech32Checksum([...expanded, ...values]) !== BECH32M) throw new Error("the checksum does not fit");
  const bytes = [];
  let [held, bits] = [0, 0];
  for (const value of values.slice(0, -6)) {
    [held, bits] = [(held << 5) | value, bits + 5];
    if (bits >= 8) {
      bits -= 8;
      bytes.push(held >> bits);
      held &= (1 << bits) - 1;
    }
  }
  if (bits >= 5 || held !== 0) throw new Error("the padding is not zero");
  return Buffer.from(bytes);
}

/** The keys of an access code. */
export class AccessCode {
  constructor(text) {
    const payload = decodeBech32m(text.trim(), "qdrs");
    if (payload[0] > 1) throw new Error(`version ${payload[0]} is newer than this client`);
    if (payload.length !== 34 || payload[0] !== 1 || payload[1] > 1) throw new Error("it is no access code of version 1");
    this.kind = ["station", "product"][payload[1]];
    const derive = (info) => Buffer.from(hkdfSync("sha256", payload.subarray(2), "", info, 32));
    this.signingSeed = derive("qdrs/v1 signing key");
    this.openingSecret = derive("qdrs/v1 opening key");
    this.signing = createPrivateKey({ key: Buffer.concat([ED25519_PKCS8, this.signingSeed]), format: "der", type: "pkcs8" });
    this.signingPublic = Buffer.from(createPublicKey(this.signing).export({ format: "jwk" }).x, "base64url");
    this.keyId = createHash("sha256").update(this.signingPublic).digest("hex").slice(0, 16);
  }

  openingKey() {
    return SUITE.kem.importKey("raw", this.openingSecret, false);
  }
}

/** A key pair for one installation of a product: what opens, and what is sent as `recipient`. */
export async function newRecipient() {
  const { privateKey, publicKey } = await SUITE.kem.generateKeyPair();
  return { privateKey, recipient: Buffer.from(await SUITE.kem.serializePublicKey(publicKey)).toString("base64") };
}

/** What a sealed credential belongs to: the serial as it was sent, the Idempotency-Key without quotes. */
export function aad(...texts) {
  return Buffer.concat(
    texts.flatMap((text) => {
      const bytes = Buffer.from(text, "utf8");
      return [Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes];
    }),
  );
}

/** The device connection string of a registration's answer, checked against the answer's names. */
export async function openSealed(recipientKey, answer, context) {
  const [enc, ct] = [answer.sealed.enc, answer.sealed.ct].map((text) => Buffer.from(text, "base64"));
  const credential = Buffer.from(await SUITE.open({ recipientKey, enc, info: INFO }, ct, context)).toString("utf8");
  const parts = partsOf(credential);
  if (parts.HostName !== answer.hub || parts.DeviceId !== answer.device_id) {
    throw new Error("the credential is not the one of the answer");
  }
  return credential;
}

export function partsOf(credential) {
  return Object.fromEntries(credential.split(";").map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]));
}

export function fingerprint(credential) {
  return createHash("sha256").update(Buffer.from(partsOf(credential).SharedAccessKey, "base64")).digest("hex");
}

/** The service refuses a request; `code` is what a program decides by. */
export class Refused extends Error {
  constructor(status, problem) {
    super(`${status} ${problem.code}: ${problem.title}; ${problem.detail}; ${problem.help}`);
    Object.assign(this, { status, problem, code: problem.code });
  }
}

/** Sends signed requests with one access code. `clockOffset` is what this machine's clock lacks, in seconds. */
export class Client {
  constructor(url, code) {
    const { protocol, hostname } = new URL(url);
    // Believing the service's clock, and sending anything at all, needs checked TLS or loopback.
    if (protocol !== "https:" && !["127.0.0.1", "localhost", "[::1]"].includes(hostname)) {
      throw new Error("plain HTTP is for loopback only");
    }
    Object.assign(this, { url: url.replace(/\/+$/, ""), code, clockOffset: 0 });
    this.signer = createSigner(code.signing, "ed25519", code.keyId);
  }

  now() {
    return Date.now() / 1000 + this.clockOffset;
  }

  /** A request with its signature. */
  signed(method, target, body = "", job = undefined) {
    const fields = ["@method", "@path", ...(target.includes("?") ? ["@query"] : []), "content-digest"];
    const headers = {};
    if (body.length > 0) headers["content-type"] = "application/json";
    if (job !== undefined) {
      headers["idempotency-key"] = `"${job}"`;
      fields.push("idempotency-key");
    }
    return this.signedAs(method, target, body, headers, fields, {});
  }

  /** The same, with components and parameters as they are given. */
  signedAs(method, target, body, headers, fields, { expiresIn = 300, ...how }) {
    const digest = createHash("sha256").update(body).digest("base64");
    const [created, expires] = [0, expiresIn].map((seconds) => new Date((this.now() + seconds) * 1000));
    return httpbis.signMessage(
      { key: this.signer, name: "qdrs", params: ["created", "expires", "keyid", "alg"], paramValues: { created, expires }, fields, ...how },
      { method, url: new URL(this.url + target), headers: { "content-digest": `sha-256=:${digest}:`, ...headers }, body },
    );
  }

  /** The answer's status and JSON; a refusal is thrown. */
  async send({ method, url, headers, body }) {
    const content = body.length > 0 ? { body } : {};
    const answer = await fetch(url, { method, headers, ...content, redirect: "manual", signal: AbortSignal.timeout(40_000) });
    if (answer.ok) return { status: answer.status, body: await answer.json() };
    if (answer.headers.get("content-type") !== "application/problem+json") {
      throw new TypeError(`status ${answer.status} without a problem: something between has answered`);
    }
    throw new Refused(answer.status, await answer.json());
  }

  /** Sends until there is an answer that counts: signed anew each time, with the same Idempotency-Key. */
  async ask(method, target, what = undefined, job = undefined) {
    const body = what === undefined ? "" : JSON.stringify(what);
    let [wait, corrected] = [1, false];
    for (let left = TRIES - 1; ; left -= 1) {
      let retryAfter;
      try {
        return await this.send(await this.signed(method, target, body, job));
      } catch (error) {
        if (error.code === "clock-skew" && !corrected) {
          [this.clockOffset, corrected] = [(Date.parse(error.problem.server_time) - Date.now()) / 1000, true];
          continue;
        }
        retryAfter = error.problem?.retry_after;
        // A connection that broke or timed out, and what something between has answered, is tried again, too.
        const passing = error instanceof TypeError || error.name === "TimeoutError";
        if (left === 0 || error.code === "clock-skew" || (retryAfter === undefined && !passing)) throw error;
      }
      await sleep(1000 * (retryAfter ?? wait * (0.8 + 0.4 * Math.random())));
      wait = Math.min(2 * wait, 30);
    }
  }

  device(serial, part = "") {
    return `/v1/devices/${encodeURIComponent(serial)}${part}`;
  }

  register(serial, job, what = {}) {
    return this.ask("PUT", this.device(serial), what, job);
  }

  async open(serial, job, answer, key = undefined) {
    return openSealed(key ?? (await this.code.openingKey()), answer, aad(this.code.keyId, serial, job, answer.reservation));
  }

  async confirm(serial, job, reservation, keyFingerprint, evidence = "read-back", more = {}) {
    const what = { reservation, fingerprint: keyFingerprint, evidence, ...more };
    return (await this.ask("PUT", this.device(serial, "/confirmation"), what, job)).body;
  }

  async release(serial, job, reservation, reason) {
    return (await this.ask("PUT", this.device(serial, "/release"), { reservation, reason }, job)).body;
  }

  async get(target) {
    return (await this.ask("GET", target)).body;
  }
}
