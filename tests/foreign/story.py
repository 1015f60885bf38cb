"""The story of PROTOCOL.md, told with the client in Python against a running service and hub.

    story.py SERVICE_URL HUB_URL STATION_CODE_FILE PRODUCT_CODE_FILE

Prints the name of each chapter when it holds; the first that does not ends the program with its reason. `story.mjs` is
the same story in JavaScript. The station's code may take over and may release 2 registrations.
"""

import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import re
import sys
import time
import urllib.parse
import uuid

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from qdrs_client import (
    BECH32_CHARACTERS,
    AccessCode,
    Client,
    Refused,
    aad,
    fingerprint,
    open_sealed,
    parts_of,
    raw,
)

PAGE = (pathlib.Path(__file__).parents[2] / "qdrs-service" / "PROTOCOL.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```\w+ (\S+)\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL))
TABLE = {
    code: (int(status), retry == "yes")
    for code, status, retry in re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (yes|no) \|", PAGE, re.MULTILINE)
}

SERVICE, HUB = sys.argv[1].rstrip("/"), sys.argv[2].rstrip("/")
STATION, PRODUCT = (AccessCode(pathlib.Path(path).read_text(encoding="ascii")) for path in sys.argv[3:5])
CLIENT = Client(SERVICE, STATION)


def serial(number):
    """The n-th serial that the policy takes."""
    return f"QD-{10_003 + 7 * number:07}"


def job():
    return str(uuid.uuid4())


def now(seconds=0):
    return datetime.datetime.fromtimestamp(time.time() + seconds, datetime.timezone.utc)


def refused(code, call, *args, **kwargs):
    """The call must be refused with this code, as the page's table has it; returns the problem."""
    try:
        call(*args, **kwargs)
    except Refused as refusal:
        problem = refusal.problem
        assert refusal.code == code, f"{refusal.code} instead of {code}: {refusal}"
        assert TABLE[code] == (refusal.status, "retry_after" in problem), f"{code}: not as in the table: {problem}"
        assert problem["status"] == refusal.status and problem["type"] == f"/problems/{code}", problem
        assert problem["title"] and problem["help"], problem
        return problem
    raise AssertionError(f"not refused with {code}")


def lives(credential):
    """The device side of the hub: the credential is good for a message, or it is not."""
    parts = parts_of(credential)
    resource = urllib.parse.quote(f"{parts['HostName']}/devices/{parts['DeviceId']}", safe="")
    ends = int(time.time()) + 600
    key = base64.b64decode(parts["SharedAccessKey"])
    signature = base64.b64encode(hmac.digest(key, f"{resource}\n{ends}".encode(), hashlib.sha256)).decode()
    token = f"SharedAccessSignature sr={resource}&sig={urllib.parse.quote(signature, safe='')}&se={ends}"
    url = f"{HUB}/devices/{urllib.parse.quote(parts['DeviceId'], safe='')}/messages/events?api-version=2021-04-12"
    answer = requests.post(url, data=b"hello", headers={"Authorization": token}, timeout=40)
    assert answer.status_code in (204, 401, 404), answer.status_code
    return answer.status_code == 204


def the_example_of_the_page():
    code, keys, answer = AccessCode(BLOCKS["access-code"]), json.loads(BLOCKS["keys"]), json.loads(BLOCKS["answer"])
    form = (serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    assert code.kind == "station" and code.key_id == keys["key_id"]
    assert code.signing.private_bytes(*form).hex() == keys["signing_seed"]
    assert code.opening.private_bytes(*form).hex() == keys["opening_secret"]
    assert base64.b64encode(raw(code.signing.public_key())).decode() == keys["signing_public"]
    assert base64.b64encode(raw(code.opening.public_key())).decode() == keys["opening_public"]
    head, body = BLOCKS["request"].split("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    assert headers["Content-Digest"] == f"sha-256=:{digest}:"
    signature = base64.b64decode(headers["Signature"].removeprefix("qdrs=:").removesuffix(":"))
    assert code.signing.sign(BLOCKS["signature-base"].encode()) == signature
    context = aad(code.key_id, answer["serial"], headers["Idempotency-Key"].strip('"'), answer["reservation"])
    assert context.hex() == BLOCKS["aad"]
    assert open_sealed(code.opening, answer, context) == BLOCKS["credential"]
    assert fingerprint(BLOCKS["credential"]) == json.loads(BLOCKS["confirmation"])["fingerprint"]


def an_access_code_and_its_damage():
    good = BLOCKS["access-code"]
    assert AccessCode(good.upper()).key_id == AccessCode(f" {good}\n").key_id == AccessCode(good).key_id
    other = BECH32_CHARACTERS[BECH32_CHARACTERS.index(good[20]) ^ 1]
    for bad in (good[:20] + other + good[21:], good[:-1], good[:4] + good[4:].upper(), good + "q", "abcd" + good[4:], ""):
        try:
            AccessCode(bad)
        except ValueError:
            continue
        raise AssertionError(f"{bad} is taken")


def who_am_i():
    me = CLIENT.get("/v1/access")
    assert (me["name"], me["kind"], me["policy"]) == ("line-1", "station", "multiples-of-7")
    assert me["least_evidence"] == "device-checked" and me["permissions"] == ["take-over"]
    assert (me["registered"], me["rework"], me["reworked"]) == (0, 2, 0)
    assert CLIENT.get("/v1/access?a=1&b=%20c")["name"] == "line-1"


def the_policy():
    policy = CLIENT.get("/v1/policy")
    assert policy["name"] == "multiples-of-7" and policy["whole"] is True and "divisible" in policy["toml"]


def register_and_open():
    one = job()
    status, answer = CLIENT.register(serial(1), one, station="foreign", slot="1", columns={"colour": "blue"})
    credential = CLIENT.open(serial(1), one, answer)
    assert status == 201 and answer["serial"] == serial(1) and lives(credential)
    asked = CLIENT.get(CLIENT.device(serial(1)))
    assert (asked["state"], asked["yours"], asked["station"]) == ("issued", True, "foreign")
    assert asked["reservation"] == answer["reservation"]
    return one, answer, credential


def repeat_before_confirmation(one, answer, credential):
    status, again = CLIENT.register(serial(1), one, station="elsewhere", slot="2")
    assert status == 200 and again["reservation"] == answer["reservation"] and again["sealed"] != answer["sealed"]
    assert CLIENT.open(serial(1), one, again) == credential
    assert CLIENT.get(CLIENT.device(serial(1)))["station"] == "foreign", "the first request's words stay"
    # Without quotes the header means the same key.
    bare = CLIENT.session.prepare_request(requests.Request("PUT", SERVICE + CLIENT.device(serial(1)), {"Idempotency-Key": one}))
    CLIENT.signer.sign(
        bare,
        key_id=STATION.key_id,
        created=now(),
        expires=now(300),
        covered_component_ids=("@method", "@path", "content-digest", "idempotency-key"),
        body=b"",
    )
    assert CLIENT.open(serial(1), one, CLIENT.send(bare)[1]) == credential


def the_same_key_for_something_else(one):
    refused("idempotency-mismatch", CLIENT.register, serial(2), one)
    refused("idempotency-mismatch", CLIENT.register, serial(1).lower(), one)


def another_key_for_the_same_serial():
    problem = refused("serial-taken", CLIENT.register, serial(1), job())
    assert (problem["state"], problem["yours"], problem["station"]) == ("issued", True, "foreign")


def another_spelling():
    one, written = job(), serial(3).lower()
    answer = CLIENT.register(written, one)[1]
    assert answer["serial"] == serial(3)
    # The seal names the serial as it was sent, not its normal form.
    credential = CLIENT.open(written, one, answer)
    done = CLIENT.confirm(serial(3), job(), answer["reservation"], fingerprint(credential))
    assert CLIENT.confirm(written, job(), answer["reservation"], fingerprint(credential)) == done


def confirm_and_confirm_again(one, answer, credential):
    reservation, held = answer["reservation"], fingerprint(credential)
    refused("fingerprint-mismatch", CLIENT.confirm, serial(1), one, reservation, "00" * 32)
    refused("bad-request", CLIENT.confirm, serial(1), one, reservation, held.upper())
    refused("evidence-too-weak", CLIENT.confirm, serial(1), one, reservation, held, "accepted")
    refused("serial-unknown", CLIENT.confirm, serial(2), one, reservation, held)
    done = CLIENT.confirm(serial(1), one, reservation, held, hardware_id="a4cf12fe0001")
    assert done["serial"] == serial(1)
    assert CLIENT.confirm(serial(1), one, reservation, held) == done
    assert CLIENT.confirm(serial(1), job(), reservation, held) == done
    asked = CLIENT.get(CLIENT.device(serial(1)))
    assert (asked["state"], asked["evidence"]) == ("confirmed", "read-back")


def repeat_after_confirmation(one):
    problem = refused("serial-taken", CLIENT.register, serial(1), one)
    assert (problem["state"], problem["yours"]) == ("confirmed", True)


def take_over():
    lost, own = job(), job()
    first = CLIENT.register(serial(4), lost)[1]
    old = CLIENT.open(serial(4), lost, first)
    refused("bad-request", CLIENT.register, serial(4), own, take_over={"reason": " "})
    status, second = CLIENT.register(serial(4), own, take_over={"reason": "the station's disk died"})
    new = CLIENT.open(serial(4), own, second)
    assert status == 201 and second["reservation"] != first["reservation"]
    assert lives(new) and not lives(old)
    status, again = CLIENT.register(serial(4), own, take_over={"reason": "the station's disk died"})
    assert (status, CLIENT.open(serial(4), own, again)) == (200, new), "a repeat takes nothing over"
    refused("released", CLIENT.confirm, serial(4), lost, first["reservation"], fingerprint(old))
    refused("released", CLIENT.register, serial(4), lost)
    CLIENT.confirm(serial(4), own, second["reservation"], fingerprint(new))
    refused("serial-taken", CLIENT.register, serial(4), job(), take_over={"reason": "it is confirmed"})
    return first["reservation"]


def two_journals():
    ours, theirs, lost = str(uuid.uuid4()), str(uuid.uuid4()), job()
    made = CLIENT.register(serial(14), lost, journal=theirs)[1]["reservation"]
    own = {"journal": ours, "take_over": {"reason": "the other PC is broken"}}
    problem = refused("serial-taken", CLIENT.register, serial(14), job(), **own)
    assert (problem["yours"], problem["journal"], problem["reservation"]) == (True, theirs, made)
    status, again = CLIENT.register(serial(14), job(), **own, replaces=problem["reservation"])
    assert status == 201 and again["reservation"] != made
    assert CLIENT.get(CLIENT.device(serial(14)))["journal"] == ours
    for journal, registered in ((ours, 1), (theirs, 1), (str(uuid.uuid4()), 0)):
        assert CLIENT.get(f"/v1/access?journal={journal}")["journal_registered"] == registered
    return made


def release(*taken_over):
    one, own = job(), job()
    answer = CLIENT.register(serial(5), one)[1]
    credential = CLIENT.open(serial(5), one, answer)
    CLIENT.confirm(serial(5), one, answer["reservation"], fingerprint(credential))
    refused("bad-request", CLIENT.release, serial(5), own, answer["reservation"], "")
    done = CLIENT.release(serial(5), own, answer["reservation"], "cracked case")
    assert not lives(credential)
    assert CLIENT.release(serial(5), own, answer["reservation"], "cracked case") == done
    assert CLIENT.release(serial(5), job(), answer["reservation"], "in other words") == done
    refused("released", CLIENT.register, serial(5), one)
    refused("released", CLIENT.confirm, serial(5), one, answer["reservation"], fingerprint(credential))
    dead = CLIENT.get("/v1/releases")
    assert [past["reservation"] for past in dead["releases"]] == [*taken_over, answer["reservation"]]
    assert dead["more"] is False and CLIENT.get(f"/v1/releases?after={dead['next']}")["releases"] == []
    # It is free again; the budget of 2 takes one more.
    anew = job()
    status, again = CLIENT.register(serial(5), anew)
    assert status == 201 and lives(CLIENT.open(serial(5), anew, again))
    CLIENT.release(serial(5), job(), again["reservation"], "once more")
    last = job()
    third = CLIENT.register(serial(5), last)[1]
    refused("rework-used-up", CLIENT.release, serial(5), job(), third["reservation"], "too often")
    assert (CLIENT.get("/v1/access")["reworked"], CLIENT.get("/v1/access")["rework"]) == (2, 2)


def a_product():
    client, own, one = Client(SERVICE, PRODUCT), X25519PrivateKey.generate(), job()
    recipient = base64.b64encode(raw(own.public_key())).decode()
    assert PRODUCT.kind == "product" and client.get("/v1/access")["kind"] == "product"
    refused("bad-request", client.register, serial(6), one)
    refused("bad-request", client.register, serial(6), one, recipient="AAAA")
    refused("bad-request", CLIENT.register, serial(6), job(), recipient=recipient)
    # The keys of two access codes never meet.
    CLIENT.register(serial(7), one)
    answer = client.register(serial(6), one, recipient=recipient)[1]
    credential = client.open(serial(6), one, answer, own)
    assert lives(credential)
    again = client.register(serial(6), one, recipient=recipient)[1]
    assert client.open(serial(6), one, again, own) == credential
    # The code alone opens nothing, and another installation gets nothing.
    try:
        client.open(serial(6), one, answer)
        raise AssertionError("the product's code opens it")
    except Exception as error:
        assert type(error).__name__ == "OpenError", error
    other = base64.b64encode(raw(X25519PrivateKey.generate().public_key())).decode()
    for wrong in (serial(1), "QD-0000001", "nonsense"):
        refused("refused", client.register, wrong, job(), recipient=other)
    refused("refused", client.register, serial(6), one, recipient=other)
    client.confirm(serial(6), one, answer["reservation"], fingerprint(credential))
    refused("refused", client.register, serial(6), one, recipient=recipient)
    refused("refused", client.get, "/v1/policy")
    refused("refused", client.get, "/v1/releases")
    refused("refused", client.get, client.device(serial(6)))
    refused("refused", client.release, serial(6), job(), answer["reservation"], "a product may not")


def a_clock_that_is_wrong():
    for wrong in (-3600, 3600):
        client = Client(SERVICE, STATION)
        client.clock_offset = wrong
        problem = refused("clock-skew", lambda: client.send(client.signed("GET", "/v1/access")))
        assert problem["server_time"]
        assert client.get("/v1/access")["name"] == "line-1" and abs(client.clock_offset) < 60
        assert client.send(client.signed("GET", "/v1/access"))[0] == 200


def with_signature(method, target, body=b"", headers=None, covered=("@method", "@path", "content-digest"), **how):
    """A request signed in another way than the client's."""
    request = CLIENT.session.prepare_request(requests.Request(method, SERVICE + target, headers or {}, data=body))
    how = {"created": now(), "expires": now(200), "body": body, **how}
    CLIENT.signer.sign(request, key_id=STATION.key_id, covered_component_ids=covered, **how)
    return request


def what_a_signature_may_look_like():
    digest = lambda name: base64.b64encode(hashlib.new(name, b"").digest()).decode()
    sha_256, sha_512 = f"sha-256=:{digest('sha256')}:", f"sha-512=:{digest('sha512')}:"
    good = [
        with_signature("GET", "/v1/access", covered=("content-digest", "@path", "@method")),
        with_signature("GET", "/v1/access", label="mine", include_alg=False, nonce="n", tag="t"),
        with_signature("GET", "/v1/access", headers={"X-More": "1, 2"}, covered=("@path", "x-more", "@method", "content-digest")),
        with_signature("GET", "/v1/access", headers={"Content-Digest": sha_512}, use_existing_digest=True),
        with_signature("GET", "/v1/access", headers={"Content-Digest": f"{sha_512}, {sha_256}"}, use_existing_digest=True),
    ]
    for request in good:
        assert CLIENT.send(request)[1]["name"] == "line-1"
    bad = [
        with_signature("GET", "/v1/access", covered=("@method", "@path", "@authority", "content-digest")),
        with_signature("GET", "/v1/access", covered=("@method", "content-digest")),
        with_signature("GET", "/v1/access?a=1"),
        with_signature("GET", "/v1/access", covered=("@method", "@path"), body=None),
        with_signature("GET", "/v1/access", expires=None),
        with_signature("GET", "/v1/access", expires=now(400)),
        with_signature("PUT", CLIENT.device(serial(8)), headers={"Idempotency-Key": '"k"'}),
    ]
    for request in bad:
        refused("signature-invalid", CLIENT.send, request)


def limits():
    at = lambda length: "x" * length
    own = job()
    most = {f"{number:02}{at(198)}": at(200) for number in range(16)}
    CLIENT.register(serial(9), own, station=at(200), slot=at(200), batch=at(200), hardware_id=at(200), columns=most)
    for field in ("station", "slot", "batch", "hardware_id"):
        refused("bad-request", CLIENT.register, serial(10), job(), **{field: at(201)})
        for unseen in ("a\tb", "a\nb", "a\u200bb", "a\x00b"):
            refused("bad-request", CLIENT.register, serial(10), job(), **{field: unseen})
    for columns in ({**most, "17": ""}, {" ": "a"}, {at(201): ""}, {"a": at(201)}, {"": "a"}, {"a": "a\nb"}):
        refused("bad-request", CLIENT.register, serial(10), job(), columns=columns)
    refused("bad-request", CLIENT.register, serial(10), job(), take_over={"reason": at(201)})
    CLIENT.register(serial(11), at(128))
    refused("bad-request", CLIENT.register, serial(10), at(129))
    refused("bad-request", CLIENT.register, serial(10), "")
    padded = json.dumps({"unknown": ""}).encode()
    whole = padded[:-2] + b"x" * (16_384 - len(padded)) + padded[-2:]
    assert CLIENT.send(CLIENT.signed("PUT", CLIENT.device(serial(12)), whole, job()))[0] == 201
    too_long = CLIENT.signed("PUT", CLIENT.device(serial(13)), whole + b" ", job())
    refused("body-too-large", CLIENT.send, too_long)


def refusals():
    device = CLIENT.device(serial(20))
    unsigned = CLIENT.session.prepare_request(requests.Request("GET", SERVICE + "/v1/access"))
    refused("signature-missing", CLIENT.send, unsigned)
    changed = CLIENT.signed("PUT", device, b"{}", job())
    changed.body = b"{ }"
    changed.headers["Content-Length"] = "3"
    refused("signature-invalid", CLIENT.send, changed)
    moved = CLIENT.signed("PUT", device, b"{}", job())
    moved.url = SERVICE + CLIENT.device(serial(21))
    refused("signature-invalid", CLIENT.send, moved)
    refused("access-code-unknown", Client(SERVICE, AccessCode(BLOCKS["access-code"])).get, "/v1/access")
    refused("idempotency-key-missing", CLIENT.send, CLIENT.signed("PUT", device, b"{}"))
    refused("bad-request", CLIENT.send, CLIENT.signed("PUT", device, b"{", job()))
    refused("bad-request", CLIENT.send, CLIENT.signed("PUT", device, b'{"slot":7}', job()))
    refused("bad-request", CLIENT.get, "/v1/releases?after=-1")
    refused("serial-unknown", CLIENT.get, device)
    refused("serial-invalid", CLIENT.register, "QD-0010004", job())
    # Signed as it is sent, read decoded.
    for odd in ("QD/1", "QD%2F1", "QD 1", "Gerät", "x" * 129):
        refused("serial-invalid", CLIENT.register, odd, job())
    refused("serial-unknown", CLIENT.confirm, serial(20), job(), str(uuid.uuid4()), "00" * 32)
    refused("route-unknown", CLIENT.get, "/v1/nowhere")
    refused("method-not-allowed", CLIENT.ask, "DELETE", device)
    assert CLIENT.get("/v1/access")["registered"] >= 7


def main():
    def chapter(step, *args):
        found = step(*args)
        print(step.__name__.replace("_", " "), flush=True)
        return found

    chapter(the_example_of_the_page)
    chapter(an_access_code_and_its_damage)
    chapter(who_am_i)
    chapter(the_policy)
    made = chapter(register_and_open)
    chapter(repeat_before_confirmation, *made)
    chapter(the_same_key_for_something_else, made[0])
    chapter(another_key_for_the_same_serial)
    chapter(another_spelling)
    chapter(confirm_and_confirm_again, *made)
    chapter(repeat_after_confirmation, made[0])
    taken_over = chapter(take_over)
    of_another = chapter(two_journals)
    chapter(release, taken_over, of_another)
    chapter(a_product)
    chapter(a_clock_that_is_wrong)
    chapter(what_a_signature_may_look_like)
    chapter(limits)
    chapter(refusals)
    print("all held")


if __name__ == "__main__":
    main()
