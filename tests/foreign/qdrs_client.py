"""A client of the QDRS service, written from qdrs-service/PROTOCOL.md alone.

The access code and its keys (section 1), signed requests (section 3), the opening of a credential (section 5), and what
to do with a refusal (section 6). What is kept on disk, and when (section 4), is the caller's part.
"""

import base64
import datetime
import hashlib
import json
import random
import time
import urllib.parse

import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

BECH32_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32M = 0x2BC830A3
INFO = b"qdrs/v1 device connection string"
SUITE = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES128_GCM)


def bech32_checksum(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check


def decode_bech32m(text, prefix):
    """The bytes of a bech32m string with this prefix."""
    if text not in (text.lower(), text.upper()):
        raise ValueError("capital and small letters are mixed")
    found, separator, data = text.lower().rpartition("1")
    if not separator or found != prefix:
        raise ValueError(f"it does not begin with `{prefix}1`")
    if any(character not in BECH32_CHARACTERS for character in data):
        raise ValueError("it has a character that bech32 does not have")
    values = [BECH32_CHARACTERS.index(character) for character in data]
    expanded = [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]
    if bech32_checksum(expanded + values) != BECH32M:
        raise ValueError("the checksum does not fit")
    values = values[:-6]
    number = 0
    for value in values:
        number = number << 5 | value
    spare = len(values) * 5 % 8
    if spare >= 5 or number & ((1 << spare) - 1):
        raise ValueError("the padding is not zero")
    return (number >> spare).to_bytes(len(values) * 5 // 8, "big")


def raw(public_key):
    return public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class AccessCode:
    """The keys of an access code."""

    def __init__(self, text):
        payload = decode_bech32m(text.strip(), "qdrs")
        if payload[:1] > b"\x01":
            raise ValueError(f"version {payload[0]} is newer than this client")
        if len(payload) != 34 or payload[0] != 1 or payload[1] > 1:
            raise ValueError("it is no access code of version 1")
        self.kind = ("station", "product")[payload[1]]
        derive = lambda info: HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(payload[2:])
        self.signing = Ed25519PrivateKey.from_private_bytes(derive(b"qdrs/v1 signing key"))
        self.opening = X25519PrivateKey.from_private_bytes(derive(b"qdrs/v1 opening key"))
        self.key_id = hashlib.sha256(raw(self.signing.public_key())).hexdigest()[:16]


def aad(key_id, serial, job, reservation):
    """What a sealed credential belongs to: the serial as it was sent, the Idempotency-Key without quotes."""
    texts = [text.encode() for text in (key_id, serial, job, reservation)]
    return b"".join(len(text).to_bytes(2, "big") + text for text in texts)


def open_sealed(key, answer, context):
    """The device connection string of a registration's answer, checked against the answer's names."""
    enc, ct = (base64.b64decode(answer["sealed"][name], validate=True) for name in ("enc", "ct"))
    recipient = SUITE.create_recipient_context(enc, KEMKey.from_pyca_cryptography_key(key), info=INFO)
    credential = recipient.open(ct, context).decode()
    parts = parts_of(credential)
    if (parts["HostName"], parts["DeviceId"]) != (answer["hub"], answer["device_id"]):
        raise ValueError("the credential is not the one of the answer")
    return credential


def parts_of(credential):
    return dict(part.split("=", 1) for part in credential.split(";"))


def fingerprint(credential):
    return hashlib.sha256(base64.b64decode(parts_of(credential)["SharedAccessKey"], validate=True)).hexdigest()


class Refused(Exception):
    """The service refuses a request; `code` is what a program decides by."""

    def __init__(self, status, problem):
        super().__init__(f"{status} {problem['code']}: {problem['title']}; {problem.get('detail')}; {problem.get('help')}")
        self.status, self.problem, self.code = status, problem, problem["code"]


class Keys(HTTPSignatureKeyResolver):
    def __init__(self, code):
        self.code = code

    def resolve_private_key(self, key_id):
        return self.code.signing

    def resolve_public_key(self, key_id):
        return self.code.signing.public_key()


class Client:
    """Sends signed requests with one access code. `clock_offset` is what this machine's clock lacks, in seconds."""

    TRIES = 6

    def __init__(self, url, code):
        parts = urllib.parse.urlsplit(url)
        # Believing the service's clock, and sending anything at all, needs checked TLS or loopback.
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("plain HTTP is for loopback only")
        self.url, self.code, self.clock_offset = url.rstrip("/"), code, 0
        self.session = requests.Session()
        self.signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=Keys(code))

    def signed(self, method, target, body=b"", job=None):
        """A prepared request with its signature."""
        headers = {"Content-Type": "application/json"} if body else {}
        if job is not None:
            headers["Idempotency-Key"] = f'"{job}"'
        # The library may write the address anew, so it is prepared first and then signed.
        request = self.session.prepare_request(requests.Request(method, self.url + target, headers, data=body))
        covered = ["@method", "@path"]
        covered += ["@query"] if "?" in target else []
        covered += ["content-digest"]
        covered += ["idempotency-key"] if job is not None else []
        created = datetime.datetime.fromtimestamp(time.time() + self.clock_offset, datetime.timezone.utc)
        self.signer.sign(
            request,
            key_id=self.code.key_id,
            created=created,
            expires=created + datetime.timedelta(seconds=300),
            covered_component_ids=covered,
            body=body,
        )
        return request

    def send(self, request):
        """The answer's status and JSON; a refusal is raised."""
        answer = self.session.send(request, timeout=40, allow_redirects=False)
        if answer.status_code < 300:
            return answer.status_code, answer.json()
        if answer.headers.get("Content-Type") != "application/problem+json":
            raise ConnectionError(f"status {answer.status_code} without a problem: something between has answered")
        raise Refused(answer.status_code, answer.json())

    def ask(self, method, target, body=None, job=None):
        """Sends until there is an answer that counts: signed anew each time, with the same Idempotency-Key."""
        data = b"" if body is None else json.dumps(body).encode()
        wait, corrected = 1.0, False
        for left in reversed(range(self.TRIES)):
            retry_after = None
            try:
                return self.send(self.signed(method, target, data, job))
            except Refused as refused:
                if refused.code == "clock-skew":
                    if corrected:
                        raise
                    told = datetime.datetime.fromisoformat(refused.problem["server_time"].replace("Z", "+00:00"))
                    self.clock_offset, corrected = told.timestamp() - time.time(), True
                    continue
                retry_after = refused.problem.get("retry_after")
                if retry_after is None or not left:
                    raise
            except (requests.ConnectionError, requests.Timeout, ConnectionError):
                if not left:
                    raise
            time.sleep(wait * random.uniform(0.8, 1.2) if retry_after is None else retry_after)
            wait = min(2 * wait, 30.0)

    @staticmethod
    def device(serial, part=""):
        return f"/v1/devices/{urllib.parse.quote(serial, safe='')}{part}"

    def register(self, serial, job, **what):
        return self.ask("PUT", self.device(serial), what, job)

    def open(self, serial, job, answer, key=None):
        context = aad(self.code.key_id, serial, job, answer["reservation"])
        return open_sealed(key or self.code.opening, answer, context)

    def confirm(self, serial, job, reservation, key_fingerprint, evidence="read-back", **more):
        what = {"reservation": reservation, "fingerprint": key_fingerprint, "evidence": evidence, **more}
        return self.ask("PUT", self.device(serial, "/confirmation"), what, job)[1]

    def release(self, serial, job, reservation, reason):
        return self.ask("PUT", self.device(serial, "/release"), {"reservation": reservation, "reason": reason}, job)[1]

    def get(self, target):
        return self.ask("GET", target)[1]
