// The story of PROTOCOL.md, told with the client in JavaScript against a running service and hub.
//
//     story.mjs SERVICE_URL HUB_URL STATION_CODE_FILE PRODUCT_CODE_FILE
//
// Prints the name of each chapter when it holds; the first that does not ends the program with its reason. `story.py` is
// the same story in Python. The station's code may take over and may release 2 registrations.

import assert from "node:assert/strict";
import { createHash, createHmac, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  AccessCode,
  BECH32_CHARACTERS,
  Client,
  Refused,
  aad,
  fingerprint,
  newRecipient,
  openSealed,
  partsOf,
} from "./qdrs-client.mjs";

const PAGE = readFileSync(new URL("../../qdrs-service/PROTOCOL.md", import.meta.url), "utf8");
const BLOCKS = Object.fromEntries([...PAGE.matchAll(/^```\w+ (\S+)\n(.*?)\n```$/gms)].map(([, name, text]) => [name, text]));
const TABLE = Object.fromEntries(
  [...PAGE.matchAll(/^\| `([a-z-]+)` \| (\d{3}) \| (yes|no) \|/gm)].map(([, code, status, retry]) => [code, [Number(status), retry === "yes"]]),
);

const [service, hub, stationFile, productFile] = process.argv.slice(2).map((text) => text.replace(/\/+$/, ""));
const [station, product] = [stationFile, productFile].map((file) => new AccessCode(readFileSync(file, "ascii")));
const client = new Client(service, station);
const job = randomUUID;

/** The n-th serial that the policy takes. */
const serial = (number) => `QD-${String(10_003 + 7 * number).padStart(7, "0")}`;

/** The request must be refused with this code, as the page's table has it; returns the problem. */
async function refused(code, request) {
  try {
    await request;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const { problem, status } = error;
    assert.equal(error.code, code, error.message);
    assert.deepEqual(TABLE[code], [status, "retry_after" in problem], `${code}: not as in the table`);
    assert.deepEqual([problem.status, problem.type], [status, `/problems/${code}`]);
    assert.ok(problem.title && problem.help, JSON.stringify(problem));
    return problem;
  }
  assert.fail(`not refused with ${code}`);
}

/** The device side of the hub: the credential is good for a message, or it is not. */
async function lives(credential) {
  const { HostName, DeviceId, SharedAccessKey } = partsOf(credential);
  const resource = encodeURIComponent(`${HostName}/devices/${DeviceId}`);
  const ends = Math.floor(Date.now() / 1000) + 600;
  const signature = createHmac("sha256", Buffer.from(SharedAccessKey, "base64")).update(`${resource}\n${ends}`).digest("base64");
  const authorization = `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${ends}`;
  const url = `${hub}/devices/${encodeURIComponent(DeviceId)}/messages/events?api-version=2021-04-12`;
  const { status } = await fetch(url, { method: "POST", body: "hello", headers: { authorization } });
  assert.ok([204, 401, 404].includes(status), String(status));
  return status === 204;
}

const CHAPTERS = {
  async "the example of the page"() {
    const [code, keys, answer] = [new AccessCode(BLOCKS["access-code"]), JSON.parse(BLOCKS.keys), JSON.parse(BLOCKS.answer)];
    assert.deepEqual([code.kind, code.keyId], ["station", keys.key_id]);
    assert.equal(code.signingSeed.toString("hex"), keys.signing_seed);
    assert.equal(code.openingSecret.toString("hex"), keys.opening_secret);
    assert.equal(code.signingPublic.toString("base64"), keys.signing_public);
    const [head, body] = BLOCKS.request.split("\n\n");
    const headers = Object.fromEntries(head.split("\n").slice(1).map((line) => line.split(/: (.*)/s).slice(0, 2)));
    assert.equal(headers["Content-Digest"], `sha-256=:${createHash("sha256").update(body).digest("base64")}:`);
    assert.equal(headers.Signature, `qdrs=:${sign(null, Buffer.from(BLOCKS["signature-base"]), code.signing).toString("base64")}:`);
    const context = aad(code.keyId, answer.serial, headers["Idempotency-Key"].replaceAll('"', ""), answer.reservation);
    assert.equal(context.toString("hex"), BLOCKS.aad);
    assert.equal(await openSealed(await code.openingKey(), answer, context), BLOCKS.credential);
    assert.equal(fingerprint(BLOCKS.credential), JSON.parse(BLOCKS.confirmation).fingerprint);
  },

  "an access code and its damage"() {
    const good = BLOCKS["access-code"];
    for (const same of [good.toUpperCase(), ` ${good}\n`]) assert.equal(new AccessCode(same).keyId, new AccessCode(good).keyId);
    const other = BECH32_CHARACTERS[BECH32_CHARACTERS.indexOf(good[20]) ^ 1];
    const damaged = [good.slice(0, 20) + other + good.slice(21), good.slice(0, -1), good.slice(0, 4) + good.slice(4).toUpperCase()];
    for (const bad of [...damaged, `${good}q`, `abcd${good.slice(4)}`, ""]) assert.throws(() => new AccessCode(bad), Error, bad);
  },

  async "who am i"() {
    const me = await client.get("/v1/access");
    assert.deepEqual([me.name, me.kind, me.policy], ["line-1", "station", "multiples-of-7"]);
    assert.deepEqual([me.least_evidence, me.permissions], ["device-checked", ["take-over"]]);
    assert.deepEqual([me.registered, me.rework, me.reworked], [0, 2, 0]);
    assert.equal((await client.get("/v1/access?a=1&b=%20c")).name, "line-1");
  },

  async "the policy"() {
    const policy = await client.get("/v1/policy");
    assert.ok(policy.name === "multiples-of-7" && policy.whole === true && policy.toml.includes("divisible"));
  },

  async "register and open"(told) {
    const one = job();
    const { status, body: answer } = await client.register(serial(1), one, { station: "foreign", slot: "1", columns: { colour: "blue" } });
    const credential = await client.open(serial(1), one, answer);
    assert.ok(status === 201 && answer.serial === serial(1) && (await lives(credential)));
    const asked = await client.get(client.device(serial(1)));
    assert.deepEqual([asked.state, asked.yours, asked.station, asked.reservation], ["issued", true, "foreign", answer.reservation]);
    Object.assign(told, { one, answer, credential });
  },

  async "repeat before confirmation"({ one, answer, credential }) {
    const { status, body: again } = await client.register(serial(1), one, { station: "elsewhere", slot: "2" });
    assert.deepEqual([status, again.reservation], [200, answer.reservation]);
    assert.notDeepEqual(again.sealed, answer.sealed);
    assert.equal(await client.open(serial(1), one, again), credential);
    assert.equal((await client.get(client.device(serial(1)))).station, "foreign", "the first request's words stay");
    // Without quotes the header means the same key.
    const fields = ["@method", "@path", "content-digest", "idempotency-key"];
    const bare = await client.signedAs("PUT", client.device(serial(1)), "", { "idempotency-key": one }, fields, {});
    assert.equal(await client.open(serial(1), one, (await client.send(bare)).body), credential);
  },

  async "the same key for something else"({ one }) {
    await refused("idempotency-mismatch", client.register(serial(2), one));
    await refused("idempotency-mismatch", client.register(serial(1).toLowerCase(), one));
  },

  async "another key for the same serial"() {
    const problem = await refused("serial-taken", client.register(serial(1), job()));
    assert.deepEqual([problem.state, problem.yours, problem.station], ["issued", true, "foreign"]);
  },

  async "another spelling"() {
    const [one, written] = [job(), serial(3).toLowerCase()];
    const { body: answer } = await client.register(written, one);
    assert.equal(answer.serial, serial(3));
    // The seal names the serial as it was sent, not its normal form.
    const credential = await client.open(written, one, answer);
    const done = await client.confirm(serial(3), job(), answer.reservation, fingerprint(credential));
    assert.deepEqual(await client.confirm(written, job(), answer.reservation, fingerprint(credential)), done);
  },

  async "confirm and confirm again"({ one, answer: { reservation }, credential }) {
    const held = fingerprint(credential);
    await refused("fingerprint-mismatch", client.confirm(serial(1), one, reservation, "00".repeat(32)));
    await refused("bad-request", client.confirm(serial(1), one, reservation, held.toUpperCase()));
    await refused("evidence-too-weak", client.confirm(serial(1), one, reservation, held, "accepted"));
    await refused("serial-unknown", client.confirm(serial(2), one, reservation, held));
    const done = await client.confirm(serial(1), one, reservation, held, "read-back", { hardware_id: "a4cf12fe0001" });
    assert.equal(done.serial, serial(1));
    assert.deepEqual(await client.confirm(serial(1), one, reservation, held), done);
    assert.deepEqual(await client.confirm(serial(1), job(), reservation, held), done);
    const asked = await client.get(client.device(serial(1)));
    assert.deepEqual([asked.state, asked.evidence], ["confirmed", "read-back"]);
  },

  async "repeat after confirmation"({ one }) {
    const problem = await refused("serial-taken", client.register(serial(1), one));
    assert.deepEqual([problem.state, problem.yours], ["confirmed", true]);
  },

  async "take over"(told) {
    const [lost, own] = [job(), job()];
    const { body: first } = await client.register(serial(4), lost);
    const old = await client.open(serial(4), lost, first);
    await refused("bad-request", client.register(serial(4), own, { take_over: { reason: " " } }));
    const { status, body: second } = await client.register(serial(4), own, { take_over: { reason: "the station's disk died" } });
    const fresh = await client.open(serial(4), own, second);
    assert.ok(status === 201 && second.reservation !== first.reservation);
    assert.deepEqual([await lives(fresh), await lives(old)], [true, false]);
    const repeat = await client.register(serial(4), own, { take_over: { reason: "the station's disk died" } });
    assert.deepEqual([repeat.status, await client.open(serial(4), own, repeat.body)], [200, fresh], "a repeat takes nothing over");
    await refused("released", client.confirm(serial(4), lost, first.reservation, fingerprint(old)));
    await refused("released", client.register(serial(4), lost));
    await client.confirm(serial(4), own, second.reservation, fingerprint(fresh));
    await refused("serial-taken", client.register(serial(4), job(), { take_over: { reason: "it is confirmed" } }));
    told.takenOver = [first.reservation];
  },

  async "two journals"(told) {
    const [ours, theirs] = [randomUUID(), randomUUID()];
    const { reservation: made } = (await client.register(serial(14), job(), { journal: theirs })).body;
    const own = { journal: ours, take_over: { reason: "the other PC is broken" } };
    const problem = await refused("serial-taken", client.register(serial(14), job(), own));
    assert.deepEqual([problem.yours, problem.journal, problem.reservation], [true, theirs, made]);
    const { status, body: again } = await client.register(serial(14), job(), { ...own, replaces: problem.reservation });
    assert.ok(status === 201 && again.reservation !== made);
    assert.equal((await client.get(client.device(serial(14)))).journal, ours);
    for (const [journal, registered] of [[ours, 1], [theirs, 1], [randomUUID(), 0]]) {
      assert.equal((await client.get(`/v1/access?journal=${journal}`)).journal_registered, registered);
    }
    told.takenOver.push(made);
  },

  async release({ takenOver }) {
    const [one, own] = [job(), job()];
    const { body: answer } = await client.register(serial(5), one);
    const credential = await client.open(serial(5), one, answer);
    await client.confirm(serial(5), one, answer.reservation, fingerprint(credential));
    await refused("bad-request", client.release(serial(5), own, answer.reservation, ""));
    const done = await client.release(serial(5), own, answer.reservation, "cracked case");
    assert.equal(await lives(credential), false);
    assert.deepEqual(await client.release(serial(5), own, answer.reservation, "cracked case"), done);
    assert.deepEqual(await client.release(serial(5), job(), answer.reservation, "in other words"), done);
    await refused("released", client.register(serial(5), one));
    await refused("released", client.confirm(serial(5), one, answer.reservation, fingerprint(credential)));
    const dead = await client.get("/v1/releases");
    assert.deepEqual(dead.releases.map((past) => past.reservation), [...takenOver, answer.reservation]);
    assert.equal(dead.more, false);
    assert.deepEqual((await client.get(`/v1/releases?after=${dead.next}`)).releases, []);
    // It is free again; the budget of 2 takes one more.
    const anew = job();
    const { status, body: again } = await client.register(serial(5), anew);
    assert.ok(status === 201 && (await lives(await client.open(serial(5), anew, again))));
    await client.release(serial(5), job(), again.reservation, "once more");
    const { body: third } = await client.register(serial(5), job());
    await refused("rework-used-up", client.release(serial(5), job(), third.reservation, "too often"));
    const { rework, reworked } = await client.get("/v1/access");
    assert.deepEqual([rework, reworked], [2, 2]);
  },

  async "a product"() {
    const [installed, { privateKey, recipient }, one] = [new Client(service, product), await newRecipient(), job()];
    assert.deepEqual([product.kind, (await installed.get("/v1/access")).kind], ["product", "product"]);
    await refused("bad-request", installed.register(serial(6), one));
    await refused("bad-request", installed.register(serial(6), one, { recipient: "AAAA" }));
    await refused("bad-request", client.register(serial(6), job(), { recipient }));
    // The keys of two access codes never meet.
    await client.register(serial(7), one);
    const { body: answer } = await installed.register(serial(6), one, { recipient });
    const credential = await installed.open(serial(6), one, answer, privateKey);
    assert.ok(await lives(credential));
    const { body: again } = await installed.register(serial(6), one, { recipient });
    assert.equal(await installed.open(serial(6), one, again, privateKey), credential);
    // The code alone opens nothing, and another installation gets nothing.
    await assert.rejects(installed.open(serial(6), one, answer), { name: "OpenError" });
    const { recipient: other } = await newRecipient();
    for (const wrong of [serial(1), "QD-0000001", "nonsense"]) {
      await refused("refused", installed.register(wrong, job(), { recipient: other }));
    }
    await refused("refused", installed.register(serial(6), one, { recipient: other }));
    await installed.confirm(serial(6), one, answer.reservation, fingerprint(credential));
    await refused("refused", installed.register(serial(6), one, { recipient }));
    for (const target of ["/v1/policy", "/v1/releases", installed.device(serial(6))]) await refused("refused", installed.get(target));
    await refused("refused", installed.release(serial(6), job(), answer.reservation, "a product may not"));
  },

  async "a clock that is wrong"() {
    for (const wrong of [-3600, 3600]) {
      const late = new Client(service, station);
      late.clockOffset = wrong;
      const problem = await refused("clock-skew", late.send(await late.signed("GET", "/v1/access")));
      assert.ok(problem.server_time);
      assert.equal((await late.get("/v1/access")).name, "line-1");
      assert.ok(Math.abs(late.clockOffset) < 60);
      assert.equal((await late.send(await late.signed("GET", "/v1/access"))).status, 200);
    }
  },

  async "what a signature may look like"() {
    const get = (fields, how = {}, headers = {}, target = "/v1/access") => client.signedAs("GET", target, "", headers, fields, how);
    const usual = ["@method", "@path", "content-digest"];
    const [sha256, sha512] = ["sha256", "sha512"].map((name) => `sha-${name.slice(3)}=:${createHash(name).digest("base64")}:`);
    const good = [
      get(["content-digest", "@path", "@method"]),
      get(usual, { params: ["keyid", "tag", "expires", "nonce", "created"], name: "mine", expiresIn: 200, paramValues: undefined }),
      get(["@path", "x-more", "@method", "content-digest"], {}, { "x-more": "1, 2" }),
      get(usual, {}, { "content-digest": sha512 }),
      get(usual, {}, { "content-digest": `${sha512}, ${sha256}` }),
    ];
    for (const request of good) assert.equal((await client.send(await request)).body.name, "line-1");
    const bad = [
      get(["@method", "@path", "@authority", "content-digest"]),
      get(["@method", "content-digest"]),
      get(usual, {}, {}, "/v1/access?a=1"),
      get(["@method", "@path"]),
      get(usual, { params: ["created", "keyid", "alg"] }),
      get(usual, { expiresIn: 400 }),
      client.signedAs("PUT", client.device(serial(8)), "", { "idempotency-key": '"k"' }, usual, {}),
    ];
    for (const request of bad) await refused("signature-invalid", client.send(await request));
  },

  async limits() {
    const at = (length) => "x".repeat(length);
    const bad = (what, key = job()) => refused("bad-request", client.register(serial(10), key, what));
    const most = Object.fromEntries([...Array(16).keys()].map((number) => [String(number).padStart(2, "0") + at(198), at(200)]));
    await client.register(serial(9), job(), { station: at(200), slot: at(200), batch: at(200), hardware_id: at(200), columns: most });
    for (const field of ["station", "slot", "batch", "hardware_id"]) {
      await bad({ [field]: at(201) });
      for (const unseen of ["a\tb", "a\nb", "a\u200bb", "a\u0000b"]) await bad({ [field]: unseen });
    }
    for (const columns of [{ ...most, 17: "" }, { " ": "a" }, { [at(201)]: "" }, { a: at(201) }, { "": "a" }, { a: "a\nb" }]) await bad({ columns });
    await bad({ take_over: { reason: at(201) } });
    await client.register(serial(11), at(128));
    await bad({}, at(129));
    await bad({}, "");
    const whole = JSON.stringify({ unknown: at(16_384 - JSON.stringify({ unknown: "" }).length) });
    assert.equal(whole.length, 16_384);
    assert.equal((await client.send(await client.signed("PUT", client.device(serial(12)), whole, job()))).status, 201);
    await refused("body-too-large", client.send(await client.signed("PUT", client.device(serial(13)), `${whole} `, job())));
  },

  async refusals() {
    const device = client.device(serial(20));
    const put = (body, key = job()) => client.signed("PUT", device, body, key);
    await refused("signature-missing", client.send({ method: "GET", url: `${service}/v1/access`, headers: {}, body: "" }));
    await refused("signature-invalid", client.send({ ...(await put("{}")), body: "{ }" }));
    await refused("signature-invalid", client.send({ ...(await put("{}")), url: service + client.device(serial(21)) }));
    await refused("access-code-unknown", new Client(service, new AccessCode(BLOCKS["access-code"])).get("/v1/access"));
    await refused("idempotency-key-missing", client.send(await client.signed("PUT", device, "{}")));
    await refused("bad-request", client.send(await put("{")));
    await refused("bad-request", client.send(await put('{"slot":7}')));
    await refused("bad-request", client.get("/v1/releases?after=-1"));
    await refused("serial-unknown", client.get(device));
    await refused("serial-invalid", client.register("QD-0010004", job()));
    // Signed as it is sent, read decoded.
    for (const odd of ["QD/1", "QD%2F1", "QD 1", "Gerät", "x".repeat(129)]) await refused("serial-invalid", client.register(odd, job()));
    await refused("serial-unknown", client.confirm(serial(20), job(), randomUUID(), "00".repeat(32)));
    await refused("route-unknown", client.get("/v1/nowhere"));
    await refused("method-not-allowed", client.ask("DELETE", device));
    assert.ok((await client.get("/v1/access")).registered >= 7);
  },
};

const told = {};
for (const [name, chapter] of Object.entries(CHAPTERS)) {
  await chapter(told);
  console.log(name);
}
console.log("all held");
