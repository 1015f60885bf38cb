"""The hub vendor's Python service SDK, unchanged, against the emulator: the foreign judge.

Reads the hub owner connection string from QDRS_TEST_OWNER; the authority to trust is in REQUESTS_CA_BUNDLE. Each check
prints its name; the first that fails ends the program with its reason.
"""

import base64
import os
import uuid

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import (
    AuthenticationMechanism,
    ExportImportDevice,
    QuerySpecification,
    SymmetricKey,
    Twin,
    TwinProperties,
)
from msrest.exceptions import HttpOperationError

OWNER = os.environ["QDRS_TEST_OWNER"]
HUB = IoTHubRegistryManager(OWNER)
PRIMARY = base64.b64encode(bytes(range(32))).decode()
WRONG = base64.b64encode(bytes(range(200, 232))).decode()
SECONDARY = base64.b64encode(bytes(range(1, 33))).decode()


def fresh(prefix="dev"):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def refused(status, code, call, *args, **kwargs):
    """The call must fail with this status and error code; returns the answer's message."""
    try:
        call(*args, **kwargs)
    except HttpOperationError as error:
        answer = error.response
        assert answer.status_code == status, f"{answer.status_code} instead of {status}: {answer.text}"
        assert answer.headers["iothub-errorcode"] == code, answer.headers
        message = answer.json()["Message"]
        assert message.startswith(f"ErrorCode:{code};"), message
        assert answer.json()["ExceptionMessage"].startswith("Tracking ID:")
        return message
    raise AssertionError(f"{call.__name__} was not refused")


def create(device_id, primary=PRIMARY, secondary=SECONDARY):
    return HUB.create_device_with_sas(device_id, primary, secondary, "enabled")


def entry(device_id, mode="create", **more):
    keys = SymmetricKey(primary_key=PRIMARY, secondary_key=SECONDARY)
    authentication = AuthenticationMechanism(type="sas", symmetric_key=keys)
    return ExportImportDevice(id=device_id, import_mode=mode, status="enabled", authentication=authentication, **more)


def check_create_and_read():
    device_id = fresh()
    made = create(device_id)
    read = HUB.get_device(device_id)
    for device in (made, read):
        assert device.device_id == device_id and device.status == "enabled"
        assert device.authentication.type == "sas"
        assert device.authentication.symmetric_key.primary_key == PRIMARY
        assert device.authentication.symmetric_key.secondary_key == SECONDARY
        assert device.connection_state == "Disconnected" and device.capabilities.iot_edge is False
        assert device.generation_id.isdigit() and base64.b64decode(device.etag).decode().isdigit()
    assert made.etag == read.etag
    assert refused(409, "DeviceAlreadyExists", create, device_id).endswith(f"'{device_id}' is already registered.")


def check_keys_made_by_the_hub():
    made = create(fresh(), "", "")
    keys = made.authentication.symmetric_key
    assert len(base64.b64decode(keys.primary_key)) == 32 and keys.primary_key != keys.secondary_key
    message = refused(400, "ArgumentInvalid", create, fresh(), PRIMARY, "")
    assert "Either no keys or both keys can be set" in message
    assert "Invalid device key length" in refused(400, "ArgumentInvalid", create, fresh(), "AAAA", "AAAA")


def check_update():
    device_id = fresh()
    made = create(device_id)
    changed = HUB.update_device_with_sas(device_id, made.etag, SECONDARY, PRIMARY, "disabled", status_reason="lost")
    assert changed.status == "disabled" and changed.status_reason == "lost" and changed.etag != made.etag
    assert changed.authentication.symmetric_key.primary_key == SECONDARY
    assert changed.generation_id == made.generation_id
    refused(412, "PreconditionFailed", HUB.update_device_with_sas, device_id, made.etag, PRIMARY, PRIMARY, "enabled")
    missing = fresh()
    message = refused(404, "DeviceNotFound", HUB.update_device_with_sas, missing, "*", PRIMARY, PRIMARY, "enabled")
    assert message == f"ErrorCode:DeviceNotFound;{missing}"


def check_delete():
    device_id = fresh()
    made = create(device_id)
    changed = HUB.update_device_with_sas(device_id, made.etag, PRIMARY, SECONDARY, "enabled")
    refused(412, "PreconditionFailed", HUB.delete_device, device_id, made.etag)
    HUB.delete_device(device_id, changed.etag)
    refused(404, "DeviceNotFound", HUB.get_device, device_id)
    refused(404, "DeviceNotFound", HUB.delete_device, device_id)
    reborn = create(device_id)
    assert reborn.generation_id != made.generation_id
    HUB.delete_device(device_id)


def check_every_character_of_an_id():
    for device_id in (fresh("a-.%_*?!(),:=@$'"), fresh("old+#")):
        create(device_id)
        assert HUB.get_device(device_id).device_id == device_id
        assert HUB.get_twin(device_id).device_id == device_id
        HUB.delete_device(device_id)
    refused(400, "ArgumentInvalid", create, "a b")
    lower, upper = fresh("case"), None
    upper = lower.upper()
    create(lower)
    refused(404, "DeviceNotFound", HUB.get_device, upper)


def check_list_and_statistics():
    before = HUB.get_device_registry_statistics()
    ids = [fresh("list") for _ in range(3)]
    for device_id in ids:
        create(device_id)
    assert set(ids) <= {device.device_id for device in HUB.get_devices()}
    assert len(HUB.get_devices(2)) == 2
    after = HUB.get_device_registry_statistics()
    assert after.total_device_count == before.total_device_count + 3
    assert after.enabled_device_count + after.disabled_device_count == after.total_device_count
    assert HUB.get_service_statistics().connected_device_count == 0


def check_bulk():
    first, second = fresh("bulk"), fresh("bulk")
    done = HUB.bulk_create_or_update_devices([entry(first, tags={"qdrs": {"batch": "B1"}})])
    assert done.is_successful and done.errors == [] and done.warnings == []
    assert HUB.get_twin(first).tags == {"qdrs": {"batch": "B1"}}
    assert HUB.get_device(first).authentication.symmetric_key.primary_key == PRIMARY

    partly = HUB.bulk_create_or_update_devices([entry(first), entry(second)])
    assert partly.is_successful is False and len(partly.errors) == 1
    assert partly.errors[0].device_id == first and partly.errors[0].error_code == "409001"
    assert partly.errors[0].error_status == f"A device with ID '{first}' is already registered."
    assert HUB.get_device(second).device_id == second, "the good entry is done"

    stale = HUB.bulk_create_or_update_devices([entry(first, "deleteIfMatchETag", e_tag="c3RhbGU=")])
    assert stale.errors[0].error_code == "412001"
    etag = HUB.get_device(first).etag
    gone = HUB.bulk_create_or_update_devices(
        [entry(first, "deleteIfMatchETag", e_tag=etag), entry(second, "updateTwin", tags={"x": 1})]
    )
    assert gone.is_successful
    refused(404, "DeviceNotFound", HUB.get_device, first)
    assert HUB.get_twin(second).tags == {"x": 1}
    HUB.bulk_create_or_update_devices([entry(second, "delete")])

    twice = fresh()
    # The SDK takes every 400 here for a result, one without the members of a result.
    assert HUB.bulk_create_or_update_devices([entry(twice), entry(twice)]).is_successful is None
    refused(404, "DeviceNotFound", HUB.get_device, twice)
    refused(413, "TooManyDevices", HUB.bulk_create_or_update_devices, [entry(fresh()) for _ in range(101)])
    hundred = [fresh("hundred") for _ in range(100)]
    assert HUB.bulk_create_or_update_devices([entry(device_id) for device_id in hundred]).is_successful


def check_twins():
    device_id = fresh()
    device = create(device_id)
    twin = HUB.get_twin(device_id)
    assert twin.device_etag == device.etag and not twin.tags and twin.authentication_type == "sas"
    patched = HUB.update_twin(device_id, Twin(tags={"site": {"line": 4, "slot": None}}), twin.etag)
    assert patched.tags == {"site": {"line": 4}} and patched.version == twin.version + 1
    assert HUB.get_device(device_id).etag == device.etag, "a twin write leaves the identity's etag"
    refused(412, "PreconditionFailed", HUB.update_twin, device_id, Twin(tags={"a": 1}), twin.etag)
    wanted = Twin(properties=TwinProperties(desired={"rate": 5}))
    assert HUB.update_twin(device_id, wanted).properties.desired["rate"] == 5
    read = HUB.get_twin(device_id)
    read.tags = {"only": True}
    replaced = HUB.replace_twin(device_id, read, read.etag)
    assert replaced.tags == {"only": True} and replaced.properties.desired["rate"] == 5
    refused(404, "DeviceNotFound", HUB.get_twin, fresh())
    refused(400, "ArgumentInvalid", HUB.update_twin, device_id, Twin(tags={"a.b": 1}))


def check_query():
    create(fresh("query"))
    create(fresh("query"))
    total = HUB.get_device_registry_statistics().total_device_count
    seen, continuation = [], None
    while True:
        page = HUB.query_iot_hub(QuerySpecification(query="SELECT * FROM devices"), continuation, 50)
        seen += [twin.device_id for twin in page.items]
        continuation = page.continuation_token
        if not continuation:
            break
    assert len(seen) == len(set(seen)) == total


def check_tokens():
    parts = dict(part.split("=", 1) for part in OWNER.split(";"))

    def hub_with(**changed):
        text = ";".join(f"{name}={value}" for name, value in {**parts, **changed}.items())
        return IoTHubRegistryManager(text)

    hub_with().get_devices(1)
    refused(401, "IotHubUnauthorizedAccess", hub_with(SharedAccessKey=WRONG).get_devices, 1)
    refused(401, "IotHubUnauthorizedAccess", hub_with(SharedAccessKeyName="nobody").get_devices, 1)


def check_what_is_not_there():
    device_id = fresh()
    create(device_id)
    message = refused(400, "ArgumentInvalid", HUB.create_module_with_sas, device_id, "m", "", PRIMARY, SECONDARY)
    assert message == "ErrorCode:ArgumentInvalid;not supported by the emulator"


if __name__ == "__main__":
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            print(name.removeprefix("check_").replace("_", " "), flush=True)
            check()
    print("all held")
