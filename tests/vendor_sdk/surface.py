"""Every public method of the hub vendor's Python service SDK, called against the emulator.

Reads the hub owner connection string from QDRS_TEST_OWNER; the authority to trust is in REQUESTS_CA_BUNDLE. A call must
succeed, or fail with 400 "not supported by the emulator"; what goes over AMQP must fail to connect. Anything else ends the
program with its reason, and so does a method of the SDK that has no call here. Prints the rows of the table in
qdrs-service/EMULATOR.md.
"""

import base64
import inspect
import json
import os

import azure.iot.hub
from azure.core.credentials import AccessToken
from azure.iot.hub import (
    DigitalTwinClient,
    IoTHubConfigurationManager,
    IoTHubHttpRuntimeManager,
    IoTHubJobManager,
    IoTHubRegistryManager,
)
from azure.iot.hub.models import (
    AuthenticationMechanism,
    CloudToDeviceMethod,
    Configuration,
    ConfigurationContent,
    ConfigurationQueriesTestInput,
    ExportImportDevice,
    JobProperties,
    JobRequest,
    QuerySpecification,
    SymmetricKey,
    Twin,
)
from uamqp.errors import AMQPConnectionError

OWNER = os.environ["QDRS_TEST_OWNER"]
HOST = dict(part.split("=", 1) for part in OWNER.split(";"))["HostName"]
KEY = base64.b64encode(bytes(range(32))).decode()
PRINTS = ("A" * 40, "B" * 40)


class Token:
    """A credential of Entra ID, as far as the SDK can tell."""

    def get_token(self, *scopes, **how):
        return AccessToken("e30.e30.e30", 4102444800)


REGISTRY = IoTHubRegistryManager(OWNER)
CONFIGURATIONS = IoTHubConfigurationManager(OWNER)
JOBS = IoTHubJobManager(OWNER)
RUNTIME = IoTHubHttpRuntimeManager(OWNER)
TWINS = DigitalTwinClient(OWNER)


def fresh():
    """The id of a new device."""
    fresh.made += 1
    device_id = f"surface-{fresh.made}"
    REGISTRY.create_device_with_sas(device_id, KEY, KEY, "enabled")
    return device_id


fresh.made = 0
DEVICE = fresh()


def entry():
    keys = AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=KEY, secondary_key=KEY))
    return ExportImportDevice(id="surface-bulk", import_mode="create", status="enabled", authentication=keys)


def method():
    return CloudToDeviceMethod(method_name="blink", payload={})


CALLS = {
    IoTHubRegistryManager: {
        "bulk_create_or_update_devices": lambda hub: hub.bulk_create_or_update_devices([entry()]),
        "create_device_with_certificate_authority": lambda hub: hub.create_device_with_certificate_authority("by-ca", "enabled"),
        "create_device_with_sas": lambda hub: hub.create_device_with_sas("by-sas", KEY, KEY, "enabled"),
        "create_device_with_x509": lambda hub: hub.create_device_with_x509("by-x509", *PRINTS, "enabled"),
        "create_module_with_certificate_authority": lambda hub: hub.create_module_with_certificate_authority(DEVICE, "m", ""),
        "create_module_with_sas": lambda hub: hub.create_module_with_sas(DEVICE, "m", "", KEY, KEY),
        "create_module_with_x509": lambda hub: hub.create_module_with_x509(DEVICE, "m", "", *PRINTS),
        "delete_device": lambda hub: hub.delete_device(fresh()),
        "delete_module": lambda hub: hub.delete_module(DEVICE, "m"),
        "from_connection_string": lambda hub: IoTHubRegistryManager.from_connection_string(OWNER).get_devices(1),
        "from_token_credential": lambda hub: IoTHubRegistryManager.from_token_credential(HOST, Token()).get_devices(1),
        "get_device": lambda hub: hub.get_device(DEVICE),
        "get_device_registry_statistics": lambda hub: hub.get_device_registry_statistics(),
        "get_devices": lambda hub: hub.get_devices(),
        "get_module": lambda hub: hub.get_module(DEVICE, "m"),
        "get_module_twin": lambda hub: hub.get_module_twin(DEVICE, "m"),
        "get_modules": lambda hub: hub.get_modules(DEVICE),
        "get_service_statistics": lambda hub: hub.get_service_statistics(),
        "get_twin": lambda hub: hub.get_twin(DEVICE),
        "invoke_device_method": lambda hub: hub.invoke_device_method(DEVICE, method()),
        "invoke_device_module_method": lambda hub: hub.invoke_device_module_method(DEVICE, "m", method()),
        "query_iot_hub": lambda hub: hub.query_iot_hub(QuerySpecification(query="SELECT * FROM devices")),
        "replace_module_twin": lambda hub: hub.replace_module_twin(DEVICE, "m", Twin()),
        "replace_twin": lambda hub: hub.replace_twin(DEVICE, Twin(tags={"line": 1})),
        "send_c2d_message": lambda hub: hub.send_c2d_message(DEVICE, "hello"),
        "update_device_with_certificate_authority": lambda hub: hub.update_device_with_certificate_authority(fresh(), "*", "enabled"),
        "update_device_with_sas": lambda hub: hub.update_device_with_sas(fresh(), "*", KEY, KEY, "disabled"),
        "update_device_with_x509": lambda hub: hub.update_device_with_x509(fresh(), "*", *PRINTS, "enabled"),
        "update_module_twin": lambda hub: hub.update_module_twin(DEVICE, "m", Twin()),
        "update_module_with_certificate_authority": lambda hub: hub.update_module_with_certificate_authority(DEVICE, "m", "", "*"),
        "update_module_with_sas": lambda hub: hub.update_module_with_sas(DEVICE, "m", "", "*", KEY, KEY),
        "update_module_with_x509": lambda hub: hub.update_module_with_x509(DEVICE, "m", "", "*", *PRINTS),
        "update_twin": lambda hub: hub.update_twin(DEVICE, Twin(tags={"line": 2})),
    },
    IoTHubConfigurationManager: {
        "apply_configuration_on_edge_device": lambda hub: hub.apply_configuration_on_edge_device(DEVICE, ConfigurationContent()),
        "create_configuration": lambda hub: hub.create_configuration(Configuration(id="c")),
        "delete_configuration": lambda hub: hub.delete_configuration("c"),
        "from_connection_string": lambda hub: IoTHubConfigurationManager.from_connection_string(OWNER),
        "from_token_credential": lambda hub: IoTHubConfigurationManager.from_token_credential(HOST, Token()).get_configurations(),
        "get_configuration": lambda hub: hub.get_configuration("c"),
        "get_configurations": lambda hub: hub.get_configurations(),
        "test_configuration_queries": lambda hub: hub.test_configuration_queries(ConfigurationQueriesTestInput(target_condition="*")),
        "update_configuration": lambda hub: hub.update_configuration(Configuration(id="c"), "*"),
    },
    IoTHubJobManager: {
        "cancel_import_export_job": lambda hub: hub.cancel_import_export_job("j"),
        "cancel_scheduled_job": lambda hub: hub.cancel_scheduled_job("j"),
        "create_import_export_job": lambda hub: hub.create_import_export_job(JobProperties()),
        "create_scheduled_job": lambda hub: hub.create_scheduled_job("j", JobRequest()),
        "from_connection_string": lambda hub: IoTHubJobManager.from_connection_string(OWNER),
        "from_token_credential": lambda hub: IoTHubJobManager.from_token_credential(HOST, Token()).get_import_export_jobs(),
        "get_import_export_job": lambda hub: hub.get_import_export_job("j"),
        "get_import_export_jobs": lambda hub: hub.get_import_export_jobs(),
        "get_scheduled_job": lambda hub: hub.get_scheduled_job("j"),
        "query_scheduled_jobs": lambda hub: hub.query_scheduled_jobs("scheduleUpdateTwin", "running"),
    },
    IoTHubHttpRuntimeManager: {
        "abandon_feedback_notification": lambda hub: hub.abandon_feedback_notification("lock"),
        "complete_feedback_notification": lambda hub: hub.complete_feedback_notification("lock"),
        "from_connection_string": lambda hub: IoTHubHttpRuntimeManager.from_connection_string(OWNER),
        "from_token_credential": lambda hub: IoTHubHttpRuntimeManager.from_token_credential(HOST, Token()).receive_feedback_notification(),
        "receive_feedback_notification": lambda hub: hub.receive_feedback_notification(),
    },
    DigitalTwinClient: {
        "from_connection_string": lambda hub: DigitalTwinClient.from_connection_string(OWNER),
        "from_token_credential": lambda hub: DigitalTwinClient.from_token_credential(HOST, Token()).get_digital_twin(DEVICE),
        "get_digital_twin": lambda hub: hub.get_digital_twin(DEVICE),
        "invoke_command": lambda hub: hub.invoke_command(DEVICE, "blink", "{}"),
        "invoke_component_command": lambda hub: hub.invoke_component_command(DEVICE, "lamp", "blink", "{}"),
        "update_digital_twin": lambda hub: hub.update_digital_twin(DEVICE, []),
    },
}
CLIENTS = {
    IoTHubRegistryManager: REGISTRY,
    IoTHubConfigurationManager: CONFIGURATIONS,
    IoTHubJobManager: JOBS,
    IoTHubHttpRuntimeManager: RUNTIME,
    DigitalTwinClient: TWINS,
}
OVER_AMQP = {"send_c2d_message"}


def is_supported(name, call, client):
    try:
        call(client)
        return True
    except AMQPConnectionError:
        if name in OVER_AMQP:
            return False
        raise
    except Exception as error:
        answer = getattr(error, "response", None)
        if answer is None:
            raise
        message = json.loads(answer.text)["Message"]
        if (answer.status_code, message) == (400, "ErrorCode:ArgumentInvalid;not supported by the emulator"):
            return False
        raise SystemExit(f"{name}: {answer.status_code} {message}")


def public_methods(manager):
    return {name for name, _ in inspect.getmembers(manager, callable) if not name.startswith("_")}


def main():
    managers = {manager for _, manager in inspect.getmembers(azure.iot.hub, inspect.isclass)}
    if managers != set(CALLS):
        raise SystemExit(f"other classes than the SDK's: {managers ^ set(CALLS)}")
    for manager, calls in CALLS.items():
        if missing := public_methods(manager) ^ set(calls):
            raise SystemExit(f"{manager.__name__}: no call for, or no such method: {missing}")
        verdicts = {name: is_supported(name, call, CLIENTS[manager]) for name, call in calls.items()}
        if not verdicts.pop("from_connection_string") or verdicts.pop("from_token_credential"):
            raise SystemExit(f"{manager.__name__}: a connection string is supported, a token of Entra ID is not")
        in_words = lambda wanted: ", ".join(f"`{name}`" for name, verdict in verdicts.items() if verdict == wanted) or "none"
        print(f"| `{manager.__name__}` | {in_words(True)} | {in_words(False)} |", flush=True)


if __name__ == "__main__":
    main()
